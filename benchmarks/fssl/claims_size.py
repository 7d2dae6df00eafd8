"""Claims on size: how few weights a network needs for what error."""

from __future__ import annotations

from benchmarks.fssl.claim import WITHIN, claim, counts, errors
from benchmarks.fssl.methods import DENSE, FSSL, Target
from benchmarks.fssl.seeds import over_seeds, percent
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trials import Trials, every_seed
from benchmarks.harness.section import Record
from espalier.progress import Watch

LENET_WEIGHTS = 266_200  # of LeNet-300-100
MOST_WEIGHTS = ((26_000, 0.016), (9_500, 0.016))  # at an error of at most
COMPRESSIONS = ((56, 0.019), (86, 0.017))
ZEROS = 0.9


def weights_target(weights: int) -> Target:
    """So many weights of LeNet-300-100, and the same part of any other network's."""
    return Target("weights", weights / LENET_WEIGHTS)


def zeros_target(compression: float) -> Target:
    """All weights but one of so many, and a thousandth to spare for what rounding takes."""
    return Target("zeros", 1.0 - 1.0 / (1.001 * compression))


def structured(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """Few weights, by whole units."""
    records = []
    for weights, error in MOST_WEIGHTS:
        made = every_seed(settings, trials, FSSL, weights_target(weights), watch)
        left, missed = counts(made, "weights"), errors(made)
        records.append(
            claim(
                settings,
                "structured: weights at error",
                f"at most {weights:,} at {error:.1%}",
                f"{left['mean']:,.0f} at {percent(missed)}",
                left["mean"] <= weights and missed["mean"] <= error,
                weights=left,
                error=missed,
            )
        )
    return records


def with_csr(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """Few non-zeros, by units and single weights."""
    records = []
    for compression, error in COMPRESSIONS:
        made = every_seed(settings, trials, FSSL, zeros_target(compression), watch)
        missed = errors(made)
        times = over_seeds(
            [each.figures["of_weights"] / max(1, each.figures["nonzeros"]) for each in made]
        )
        records.append(
            claim(
                settings,
                "structured and CSR: compression at error",
                f"at least {compression}x at {error:.1%}",
                f"{times['mean']:.1f}x at {percent(missed)}",
                times["mean"] >= compression and missed["mean"] <= error,
                compression=times,
                error=missed,
            )
        )
    return records


def zeros(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """The paper's claim: more than 90 % zeros and the accuracy kept."""
    targets = {
        "units": weights_target(MOST_WEIGHTS[0][0]),
        "single weights": Target("zeros", ZEROS),
    }
    dense = every_seed(settings, trials, DENSE, None, watch)
    records = []
    for what, target in targets.items():
        made = every_seed(settings, trials, FSSL, target, watch)
        more = over_seeds(
            [
                each.figures["error"] - whole.figures["error"]
                for each, whole in zip(made, dense, strict=True)
            ]
        )
        share = over_seeds(
            [1.0 - each.figures["nonzeros"] / each.figures["of_weights"] for each in made]
        )
        records.append(
            claim(
                settings,
                f"zeros, {what}: more error than dense",
                f"at least {ZEROS:.0%} zeros, at most {100 * WITHIN:.1f} points",
                f"{share['mean']:.1%} zeros, {_points(more)}",
                share["mean"] >= ZEROS and more["mean"] <= WITHIN,
                zeros=share,
                more_error=more,
                error=errors(made),
                dense_error=errors(dense),
            )
        )
    return records


def _points(more: Record) -> str:
    return f"{100 * more['mean']:+.2f} ± {100 * more['deviation']:.2f} points"
