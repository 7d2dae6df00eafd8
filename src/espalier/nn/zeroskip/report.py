"""What the zero-skip layers of a model saw, chose and gained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from espalier.errors import InputError
from espalier.nn.zeroskip.layers import ZeroSkipLayer
from espalier.tables import table_lines


@dataclass(frozen=True)
class PassReport:
    """One pass of one layer at one shape of input.

    Attributes:
        layer: the module's name in the model.
        shape: the input that was measured, ``[images, channels, height, width]``.
        densities: the shares of non-zeros seen last: of the input and the gradient, and of the
            entries of the input's gradient that are needed.
        choice: ``"dense"``, or whose zeros are skipped.
        gain: dense seconds over those of the choice, from the measured curves; None where
            passes are forced.
        calls: forward calls at this shape.
    """

    layer: str
    shape: tuple[int, ...]
    pass_name: str
    densities: dict[str, float]
    choice: str
    gain: float | None
    calls: int


@dataclass(frozen=True)
class ModelReport:
    """Every zero-skip layer of a model, pass by pass; ``str()`` is a table.

    Attributes:
        layers: zero-skip layers of the model, also those that have not run yet.
    """

    passes: list[PassReport]
    layers: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers and strings."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.passes:
            if not self.layers:
                return (
                    "no layer of this model skips zeros: none is float32, or none could gain at "
                    "the batch it was accelerated for; larger batches gain more"
                )
            return f"layers that may skip zeros: {self.layers}; none has run in training yet"
        head = ("layer", "input", "pass", "density", "choice", "gain", "calls")
        return "\n".join(table_lines([head, *(_row(entry) for entry in self.passes)]))


def model_report(model: nn.Module) -> ModelReport:
    """What each pass of each zero-skip layer saw, chose and gains.

    Arguments:
        model: any module, accelerated or with zero-skip layers of its own.

    Raises:
        InputError: the model is no module.

    >>> print(model_report(nn.Linear(2, 2)))
    no layer of this model skips zeros: none is float32, or none could gain at the batch it was \
accelerated for; larger batches gain more
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}, wanted a torch.nn.Module")
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, ZeroSkipLayer)
    }
    passes = [
        PassReport(
            layer=name,
            shape=entry.problem.shape,
            pass_name=tuner.pass_name,
            densities=dict(tuner.densities),
            choice=tuner.variant,
            gain=tuner.gain,
            calls=entry.calls,
        )
        for name, layer in layers.items()
        for entry in layer.tuner.entries
        for tuner in entry.tuners
        if tuner.densities
    ]
    return ModelReport(passes, len(layers))


def _row(entry: PassReport) -> tuple[str, ...]:
    densities = ", ".join(f"{name} {density:.2f}" for name, density in entry.densities.items())
    shape = "x".join(map(str, entry.shape))
    gain = "-" if entry.gain is None else f"{entry.gain:.2f}x"
    return entry.layer, shape, entry.pass_name, densities, entry.choice, gain, str(entry.calls)
