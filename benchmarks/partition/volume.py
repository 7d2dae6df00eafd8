"""Section `volume`: words, messages and balance of every method, as the paper tabulates them."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import espalier as esp
from benchmarks.harness.report import Report
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from benchmarks.partition.settings import Settings
from espalier.distributed import Simulation
from espalier.errors import EspalierError
from espalier.partitioning.report import Statistics
from espalier.progress import Watch

COLORS = {"hypergraph": "#1f6f54", "random": "#9a9a9a", "hash": "#7a6fae", "block": "#c98f2b"}
METHODS = ("hypergraph", "random", "hash", "block")


def jobs(settings: Settings) -> list[Job]:
    """One for each network and number of parts."""
    networks: list[tuple[str, Any]] = []
    if settings.network_file is not None:
        networks.append((settings.network_file, partial(esp.load, settings.network_file)))
    else:
        for size in settings.neurons:
            name = f"radixnet {size} x {settings.layers}"
            networks.append((name, partial(esp.radixnet, size, settings.layers)))
        for size in settings.random:
            name = f"random {size} x {settings.layers}"
            networks.append((name, partial(esp.random_network, size, settings.layers)))
    return [
        partial(_measure, settings, name, make, parts)
        for name, make in networks
        for parts in settings.parts
    ]


def _measure(settings: Settings, name: str, make: Any, parts: int, watch: Watch) -> list[Record]:
    net: esp.Network = make()
    records: list[Record] = []
    words: dict[str, int] = {}
    for method in METHODS:
        try:
            start = time.perf_counter()
            with watch(f"{name}, {parts} parts, {method}", "layers") as progress:
                made = esp.partition(
                    net,
                    parts,
                    method,  # type: ignore[arg-type]
                    sweeps=settings.sweeps if method == "hypergraph" else 0,
                    progress=progress,
                )
            seconds = time.perf_counter() - start
            report = made.report(net, peers=())
        except EspalierError as error:
            records.append(skipped(name, method, error))
            continue
        total = Statistics.over(report.layers[method])
        words[method] = total.words
        merged = None
        if method == "hypergraph":
            with watch(f"{name}, {parts} parts, merging", "layers") as progress:
                exchanged = Simulation.of(net, made, merge=True, progress=progress)
            merged = sum(exchanged.words_by_layer())
        records.append(
            {
                "network": name,
                "name": method,
                "parts": parts,
                "layers": len(net),
                "nonzeros": sum(report.nonzeros),
                "seconds": seconds,
                "merged_words": merged,
                **asdict(total),
            }
        )
    for record in records:
        if "skipped" not in record and record["words"]:
            record["gain"] = words.get("random", 0) / record["words"]
            record["crossover_batch"] = record["nonzeros"] * (parts - 1) / record["words"]
    return records


def _a_layer(key: str, form: str = ",.0f") -> Any:
    return lambda record: format(record[key] / record["layers"], form)


COLUMNS = (
    Column("network", lambda r: str(r["network"])),
    Column("parts", lambda r: str(r["parts"])),
    Column("method", lambda r: str(r["name"])),
    Column("words a layer", _a_layer("words")),
    Column("random over it", lambda r: f"{r['gain']:.2f}x" if "gain" in r else "-"),
    Column("most sent", _a_layer("most_sent")),
    Column("most received", _a_layer("most_received")),
    Column("messages", _a_layer("messages", ",.1f")),
    Column("most messages", _a_layer("most_messages", ",.1f")),
    Column("imbalance", lambda r: f"{r['imbalance']:.1%}"),
    Column(
        "equal rows merged",
        lambda r: "-" if r["merged_words"] is None else f"{r['merged_words'] / r['layers']:,.0f}",
    ),
    Column("B*", lambda r: f"{r['crossover_batch']:,.0f}" if "crossover_batch" in r else "-"),
    Column("time a layer", lambda r: f"{1e3 * r['seconds'] / r['layers']:.1f} ms"),
)


def _notes(settings: Settings, records: list[Record]) -> list[str]:
    return [
        "Words: activations of one sample that all parts send in a forward pass, the inputs' among "
        "them; backward sends the same. Most sent, most received: of one part, mean over layers. "
        "B*: the batch above which replicas send fewer words in a training step.",
        "Equal rows merged: the words that distributed inference sends, where a part sends the "
        "activation of equal rows once.",
    ]


def save_plots(report: Report, folder: Path) -> None:
    """Draw section `volume` into ``partition.png``; nothing without it."""
    records = report.measured("volume")
    if not records:
        return
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(record["network"] for record in records))
    figure = Figure(figsize=(4.2 * len(networks), 3.6), layout="constrained")
    for axes, network in zip(
        figure.subplots(1, len(networks), squeeze=False)[0], networks, strict=True
    ):
        axes.set_title(network)
        for method, color in COLORS.items():
            line = [r for r in records if (r["network"], r["name"]) == (network, method)]
            axes.plot(
                [r["parts"] for r in line],
                [max(r["words"] / r["layers"], 0.5) for r in line],
                "o-",
                color=color,
                label=method,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("parts")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("words sent a layer")
    figure.axes[0].legend(frameon=False)
    report.save_figure(figure, folder / "partition.png")


SECTION: Section[Settings] = Section(
    "volume",
    jobs,
    _notes,
    Table(
        "Words sent by parts",
        *COLUMNS,
    ),
)
