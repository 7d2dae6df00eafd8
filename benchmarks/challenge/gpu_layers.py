"""Section `layers`: training steps of `SparseLinear` on a GPU against a dense layer's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.challenge.device_comparison import Seconds, compare_on_device
from benchmarks.challenge.settings import Settings
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.errors import EspalierError
from espalier.progress import Watch

NAME = "layers"
SPARSE, DENSE = "SparseLinear", "nn.Linear"
WIDTH, BATCH = 4096, 1024
DENSITIES = (0.2, 0.1, 0.05, 0.02, 0.01)
TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-2}  # of the largest number


def jobs(settings: Settings) -> list[Job]:
    """A step at each density, in both types."""
    return [
        partial(measure, settings, density, dtype) for dtype in TOLERANCES for density in DENSITIES
    ]


def measure(settings: Settings, density: float, dtype: str, watch: Watch) -> list[Record]:
    """Forward and backward of both layers, interleaved."""
    import torch

    import espalier.nn as enn

    title = f"{WIDTH}x{WIDTH}, {density:.0%}, {dtype}"
    if not torch.cuda.is_available():
        return [skipped(title, SPARSE, "this torch has no CUDA; install a CUDA build of it")]
    options: dict[str, Any] = {"device": settings.device, "dtype": getattr(torch, dtype)}
    x = torch.randn(WIDTH, BATCH, **options).t().requires_grad_()
    dy = torch.randn(WIDTH, BATCH, **options).t()
    layers = {
        SPARSE: enn.SparseLinear(WIDTH, WIDTH, density=density, **options),
        DENSE: torch.nn.Linear(WIDTH, WIDTH, **options),
    }
    sides = {SPARSE: (x, dy), DENSE: tuple(each.detach().contiguous() for each in (x, dy))}
    sides[DENSE][0].requires_grad_()
    check(layers[SPARSE], layers[DENSE], sides[SPARSE], sides[DENSE])
    runs: dict[str, Callable[[], Seconds]] = {
        who: partial(_step, layer, *sides[who]) for who, layer in layers.items()
    }
    with watch(f"{title}: interleaved", "runs") as progress:
        times = compare_on_device(runs, settings.rounds, settings.limit, progress)
    dense = times[DENSE].layers
    return [
        {
            "network": title,
            "name": who,
            "dense_over_this": dense.over(times[who].layers).to_dict(),
        }
        | times[who].to_record(BATCH)
        for who in layers
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        f"Forward and both backward passes of one layer, batch {BATCH}, gradients by input, values "
        "and bias, checked against the dense layer's before; between events on torch's stream. "
        "Each gets its batch in the layout it likes.",
    ]


def check(sparse: Any, dense: Any, on_sparse: Sequence[Any], on_dense: Sequence[Any]) -> None:
    """Give the dense layer the sparse one's weights; raise unless both then do the same.

    Arguments:
        on_sparse, on_dense: the batch and the gradient by the output, in the layout of each.

    Raises:
        EspalierError: an output or a gradient differs by more than rounding.
    """
    import torch

    dense.load_state_dict({"weight": sparse.to_dense().detach(), "bias": sparse.bias.detach()})
    (y, x, values), (wanted_y, wanted_x, weights) = (
        (layer(x), *torch.autograd.grad(layer(x), (x, of), dy))
        for layer, of, (x, dy) in (
            (sparse, sparse.values, on_sparse),
            (dense, dense.weight, on_dense),
        )
    )
    most = TOLERANCES[str(x.dtype).removeprefix("torch.")]
    places = sparse.places().to(weights.device)
    pairs = {
        "the output": (y, wanted_y),
        "the gradient by the input": (x, wanted_x),
        "the gradient by the values": (values, weights.reshape(-1)[places]),
    }
    for what, (found, wanted) in pairs.items():
        error = float((found - wanted).detach().abs().max() / wanted.detach().abs().max())
        if not error <= most:
            raise EspalierError(
                f"{SPARSE}: {what} differs by {error:.2g} of its largest from {DENSE}'s, wanted "
                f"at most {most:.2g}; it is not timed"
            )


def _step(layer: Any, x: Any, dy: Any) -> Seconds:
    import torch

    layer.zero_grad(set_to_none=True)
    x.grad = None
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start = perf_counter()
    begin.record()
    layer(x).backward(dy)
    end.record()
    torch.cuda.synchronize()
    return Seconds(begin.elapsed_time(end) / 1e3, perf_counter() - start)


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "A training step of a sparse layer on a GPU",
        Column("layer", lambda r: str(r["network"])),
        Column("who", lambda r: str(r["name"])),
        Column("step", lambda r: text.spread(r["seconds"])),
        Column("dense over this", lambda r: text.ratios(r["dense_over_this"])),
    ),
)
