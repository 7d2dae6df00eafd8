"""Baselines that train a small dense network from the start: a narrow one, or one that FSSL found.

Source of the second: Liu et al., "Rethinking the Value of Network Pruning", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from espalier import fssl
from espalier.fssl import TimeModel
from espalier.training.context import build_start
from espalier.training.footprint import Footprint, compact_footprint
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase

if TYPE_CHECKING:
    from torch import nn

    from espalier.fssl import Groups
    from espalier.training.context import TrainingContext

Kept = Sequence[Sequence[int] | None]  # units of each family by index; None for all
FRESH = 1_000_003  # apart from the seeds of all other trainings
MIN_WIDTH = 2


def phases(kept: Kept) -> list[Phase]:
    """One phase, along one cosine, like dense training."""
    return [Phase("small", 1.0, partial(SmallTrainer, kept=kept))]


def narrowed(groups: Groups, time: TimeModel, part: float) -> Kept:
    """The widest hidden layers, all scaled alike, whose predicted time fits; inputs all stay."""
    full = time.seconds(groups.full_widths)

    def widths(scale: float) -> list[int]:
        return [
            units.size if units.kind == "input" else max(MIN_WIDTH, round(scale * units.size))
            for units in groups.units
        ]

    scales = [step / 1000 for step in range(1, 1001)]
    fitting = [scale for scale in scales if time.seconds(widths(scale)) <= part * full]
    return [range(width) for width in widths(max(fitting, default=scales[0]))]


def kept_units(small: nn.Module, groups: Groups) -> Kept:
    """Which units of each family `fssl.compact` left."""
    kept: list[list[int] | None] = [None] * len(groups.units)
    for layer, report in zip(groups.layers, fssl.compact_report(small).layers, strict=True):
        if layer.outputs is not None and report.outputs is not None:
            kept[layer.outputs] = report.outputs
        if layer.inputs is not None and report.inputs is not None:
            kept[layer.inputs] = report.inputs
    return kept


class SmallTrainer(PhaseTrainer):
    """Training of a network of a given shape, from weights that nobody has seen.

    Arguments:
        kept: its shape, as units of the network of the settings.
    """

    def __init__(
        self, context: TrainingContext, model: nn.Module, steps: int, *, kept: Kept
    ) -> None:
        super().__init__(context, fresh(context, kept), steps)

    def footprint(self) -> Footprint:
        """That of the network as it stands."""
        return compact_footprint(self.model, self.context.time)

    def compact(self) -> nn.Module:
        """The network itself."""
        return self.model


def fresh(context: TrainingContext, kept: Kept) -> nn.Module:
    """A network of this shape with weights as its own initialisation would draw them."""
    full = build_start(replace(context.settings, seed=context.settings.seed + FRESH), context.data)
    groups = context.groups(full)
    keep_only(groups, kept)
    for layer in groups.layers:
        inputs, _ = groups.layer_widths(layer, groups.widths())
        # Weights are drawn with a spread of one over the root of a unit's inputs.
        groups.weight(layer).data *= (layer.in_width / inputs) ** 0.5
    return fssl.compact(full, groups, time=context.time)


def keep_only(groups: Groups, kept: Kept) -> None:
    """Set all other units of a network to 0."""
    import torch

    for units, each in zip(groups.units, kept, strict=True):
        if each is not None:
            chosen = torch.zeros(units.size)
            chosen[list(each)] = 1.0
            units.scale_(chosen)
