"""Section `replay`: zeros of a network in training, captured and measured layer by layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table
from benchmarks.sparsetrain.operands import Array, Operands
from benchmarks.sparsetrain.pass_times import Candidate, time_pass
from benchmarks.sparsetrain.settings import Settings
from benchmarks.sparsetrain.shapes import PASSES, LayerShape, Pass, variants
from benchmarks.sparsetrain.training import Trainer, train_small
from espalier.progress import Watch

if TYPE_CHECKING:
    import torch

NAME = "replay"
REAL, RANDOM = "real", "random"


class Captured(NamedTuple):
    """A layer with what it read in one training step.

    Arguments:
        behind_relu: a ReLU stops the input's gradient where the input is 0.
    """

    name: str
    shape: LayerShape
    operands: Operands
    behind_relu: bool


def jobs(settings: Settings) -> list[Job]:
    """Train once, then measure every layer."""
    return [partial(measure, settings)]


def measure(settings: Settings, watch: Watch) -> list[Record]:
    """A record for each layer, pass and way to skip."""
    with watch("training the small VGG", "steps") as progress:
        trainer = train_small(settings, progress)
    layers = capture(trainer)
    records = []
    with watch("replaying layers", "passes") as progress:
        for index, layer in enumerate(layers):
            for done, name in enumerate(PASSES, start=len(PASSES) * index):
                progress(done, len(PASSES) * len(layers))
                records += _replay(layer, name, settings)
    return records


def capture(trainer: Trainer) -> list[Captured]:
    """Inputs and output gradients of one more step, of all layers but the first."""
    from torch import nn
    from torch.nn.functional import cross_entropy

    from espalier.nn.zeroskip.dead_gradient import is_stopped_at_zero

    inputs: dict[str, torch.Tensor] = {}
    gradients: dict[str, torch.Tensor] = {}
    behind_relu: dict[str, bool] = {}
    layers = {
        name: module
        for name, module in trainer.model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    del layers[next(iter(layers))]

    def keep(name: str, _: nn.Module, given: Any, output: torch.Tensor) -> None:
        inputs[name] = given[0].detach().clone()
        behind_relu[name] = is_stopped_at_zero(given[0])
        output.register_hook(partial(gradients.__setitem__, name))

    hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in layers.items()]
    pixels, labels = trainer.next_batch()
    cross_entropy(trainer.model(pixels), labels).backward()
    for hook in hooks:
        hook.remove()
    return [
        Captured(
            name,
            _shape(layer, inputs[name]),
            Operands(*map(_as_rows, (inputs[name], layer.weight.detach(), gradients[name]))),
            behind_relu[name],
        )
        for name, layer in layers.items()
    ]


def clustering(array: Array) -> float:
    """Variance of the non-zeros per row over that of independent zeros: 1 is random.

    Arguments:
        array: ``[..., channels]``; a row is one pixel.

    >>> clustering(np.array([[1, 1], [0, 0], [1, 1], [0, 0]], np.float32))
    2.0
    """
    rows = array.reshape(-1, array.shape[-1]) != 0
    density = float(rows.mean())
    independent = rows.shape[1] * density * (1.0 - density)
    return float(rows.sum(axis=1).var()) / independent if independent else 1.0


def dead_channels(array: Array) -> float:
    """The part of the channels that are zero in every pixel of the batch.

    >>> dead_channels(np.array([[1, 0], [2, 0]], np.float32))
    0.5
    """
    alive = (array != 0).reshape(-1, array.shape[-1]).any(axis=0)
    return 1.0 - float(alive.mean())


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    source = "scikit-learn's digits" if settings.mnist is None else "MNIST"
    return [
        f"The small VGG after {settings.train_steps} dense steps of {settings.batches[0]} images "
        f"on {source}; inputs, weights and output gradients of the next step. The first layer "
        "reads the image and is left out.",
        "Random: the same operands' values at as many random places. Clustering: the variance of "
        "the non-zeros per pixel over that of random ones; dead: channels zero in all pixels.",
    ]


def _replay(layer: Captured, name: Pass, settings: Settings) -> list[Record]:
    rng = np.random.default_rng(0)
    records = []
    for variant in variants(name, sparse_gradient=True):
        if variant == "needed" and not layer.behind_relu:
            continue
        real = layer.operands
        zeros = real.zeros(variant)
        scattered = _filled(real, rng).with_zeros(zeros, variant, rng)
        candidates = {REAL: Candidate(variant, real), RANDOM: Candidate(variant, scattered)}
        times = time_pass(layer.shape, name, real, candidates, settings)
        masked = real.dy if variant == "gradient" else real.x
        records.append(
            {
                "layer": layer.name,
                "shape": layer.shape.label,
                "pass": name,
                "variant": variant,
                "images": len(real.x),
                "zeros": zeros,
                "clustering": clustering(masked),
                "dead_channels": dead_channels(masked),
                "dense_seconds": times.dense.to_dict(),
                REAL: times.to_record(REAL),
                RANDOM: times.to_record(RANDOM),
            }
        )
    return records


def _filled(operands: Operands, rng: np.random.Generator) -> Operands:
    """Noise in place of the zeros."""

    def fill(array: Array) -> Array:
        return np.where(array == 0, rng.standard_normal(array.shape, dtype=np.float32), array)

    return operands._replace(x=fill(operands.x), dy=fill(operands.dy))


def _shape(layer: Any, x: torch.Tensor) -> LayerShape:
    if x.ndim == 2:
        return LayerShape(layer.in_features, layer.out_features)
    return LayerShape(
        layer.in_channels, layer.out_channels, x.shape[2], layer.kernel_size[0], layer.stride[0]
    )


def _as_rows(tensor: torch.Tensor) -> Array:
    """Channels last, as the kernels read it."""
    moved = tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor
    return np.ascontiguousarray(moved.numpy())


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Real zeros of a network in training: speed-up over dense",
        Column("layer", lambda r: str(r["shape"])),
        Column("pass", lambda r: f"{r['pass']}, {r['variant']}"),
        Column("zeros", lambda r: f"{r['zeros']:.0%}"),
        Column("clusters", lambda r: text.digits(r["clustering"])),
        Column("dead", lambda r: f"{r['dead_channels']:.0%}"),
        Column("dense", lambda r: text.seconds(r["dense_seconds"]["median"])),
        Column("real", lambda r: text.ratio(r[REAL]["speedup"]["median"])),
        Column("random", lambda r: text.ratio(r[RANDOM]["speedup"]["median"])),
    ),
)
