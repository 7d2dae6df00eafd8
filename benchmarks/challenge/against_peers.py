"""Section `peers`: espalier and others interleaved in one process, over the same network."""

from __future__ import annotations

from functools import partial

from benchmarks.challenge.comparison import Comparison, compare, plan_candidate
from benchmarks.challenge.peer_candidates import best_peers, installed_peers
from benchmarks.challenge.settings import Settings, label
from benchmarks.harness import text
from benchmarks.harness.process import too_large
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.inference import Plan, compile
from espalier.network import Network
from espalier.progress import Watch

NAME = "peers"
BYTES_PER_CONNECTION = 8 * 8  # espalier's three plans and one copy for each peer

ALL = "espalier, all shortcuts"
NO_MERGING = "espalier, no merging"
SAME_RULES = {"zero": "espalier, dead-row filter only", "none": "espalier, no filter"}


def jobs(settings: Settings) -> list[Job]:
    """All candidates on one network, interleaved."""
    return [partial(measure, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each candidate and each peer that is not installed."""
    title = label(name)
    lazy = settings.open(name, watch)
    if reason := too_large(lazy.connections, BYTES_PER_CONNECTION):
        return [skipped(title, "all peers", reason)]
    inputs = settings.inputs(lazy.inputs, watch)
    with watch(f"{title}: preparing all candidates", "steps"):
        network = Network(list(lazy))
        ours = _our_plans(network, settings)
        own = {
            ALL: plan_candidate(ALL, ours["all"], "unique"),
            NO_MERGING: plan_candidate(NO_MERGING, ours["no merging"], "unique"),
            **{
                who: plan_candidate(who, ours["plain"], "none" if rule == "none" else "zero")
                for rule, who in SAME_RULES.items()
            },
        }
        entries, missing = installed_peers(
            network, inputs.shape[0], settings, filters=(True, False)
        )
    with watch(f"{title}: all candidates interleaved", "runs") as progress:
        candidates = [*own.values(), *(entry.candidate for entry in entries)]
        comparison = compare(candidates, network, inputs, settings, progress)
    size = {"network": title, "neurons": network.inputs, "layers": len(network)}
    records = [
        size
        | {"name": who, "peer": None, "filter": None, "slab": None}
        | _times(comparison, who, None)
        for who in own
    ]
    records += [
        size
        | {"name": entry.candidate.name, "peer": entry.peer}
        | {"filter": entry.filter, "slab": entry.slab}
        | _times(comparison, entry.candidate.name, SAME_RULES[entry.filter])
        for entry in entries
    ]
    return records + [record | {"network": title} for record in missing]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured, and the ratios to the best peers."""
    said = [
        "Same inputs, same process, same threads, interleaved; ratios are formed round by round. "
        "All candidates' weights are converted and inputs loaded before; espalier starts from the "
        "caller's sparse matrix.",
        "Peers run in slabs of samples that fit the cache, which is faster, and on the whole batch "
        "as users call them; filter zero drops dead rows after every layer. 'Same rules' is "
        "espalier with the same filter, without merging and fixed points. SpGEMM and GraphBLAS "
        "store no zeros: dead rows cost them little even with filter none.",
        "Before timing, all candidates' activations were checked against float64 on some samples.",
    ]
    said += [
        f"{best['network']}, filter {best['filter']}: the best peer is {best['name']}; espalier "
        f"with all shortcuts is {text.ratios(best['over_all_shortcuts'])} as fast, under the same "
        f"rules {text.ratios(best['over_same_rules'])}."
        for best in best_peers(records, "network", "filter")
    ]
    return said


def _our_plans(network: Network, settings: Settings) -> dict[str, Plan]:
    def plan(merge: bool, fixed_point: bool) -> Plan:
        return compile(
            network,
            merge=merge,
            fixed_point=fixed_point,
            threads=settings.threads,
            memory=settings.memory,
        )

    return {
        "all": plan(merge=True, fixed_point=True),
        "no merging": plan(merge=False, fixed_point=True),
        "plain": plan(merge=False, fixed_point=False),
    }


def _times(comparison: Comparison, name: str, same_rules: str | None) -> Record:
    times = comparison.times[name]
    return {
        **times.to_record(),
        "over_all_shortcuts": times.seconds.over(comparison.times[ALL].seconds).to_dict(),
        "over_same_rules": None
        if same_rules is None
        else times.seconds.over(comparison.times[same_rules].seconds).to_dict(),
    }


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Peers on the challenge networks",
        Column("network", lambda r: str(r["network"])),
        Column("who", lambda r: str(r["name"])),
        Column("time", lambda r: text.spread(r["seconds"])),
        Column("rounds", text.measured),
        Column("over all shortcuts", lambda r: text.ratios(r["over_all_shortcuts"])),
        Column("over same rules", lambda r: text.ratios(r["over_same_rules"])),
    ),
)
