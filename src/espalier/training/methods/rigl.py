"""RigL: sparse from the first step to the last; weak connections go, promising ones come.

Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from espalier import fssl
from espalier.errors import InputError
from espalier.fssl.compaction.resize import replace_module
from espalier.nn import SparseLinear
from espalier.nn.sparse import patterns
from espalier.nn.sparse.updaters import RigL
from espalier.training.context import TrainingContext
from espalier.training.footprint import Footprint
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase
from espalier.training.settings import MAX_SEED, Settings

MOST_STEPS_BETWEEN, LEAST_UPDATES = 100, 50


def phases(settings: Settings) -> list[Phase]:
    """One phase, along one cosine."""
    return [Phase("rigl", 1.0, RigLTrainer)]


class RigLTrainer(PhaseTrainer):
    """Training of sparse layers whose connections move."""

    def __init__(self, context: TrainingContext, model: nn.Module, steps: int) -> None:
        sparse = _sparse(model, context)
        super().__init__(context, sparse, steps)
        every = min(MOST_STEPS_BETWEEN, max(1, steps // LEAST_UPDATES))
        self._updater = RigL(sparse, self.optimizer, steps=steps, every=every)

    def update(self) -> None:
        """One step; every few steps the updater changes the connections."""
        super().update()
        self._updater.step()

    def footprint(self) -> Footprint:
        """The footprint of the connections as they are now."""
        self.groups = self.context.groups(self.model)
        return super().footprint()

    def compact(self) -> nn.Module:
        """Compact the dense network of the same weights: the time model knows its layers."""
        dense = _dense(self.model, self.context)
        return fssl.compact(dense, self.context.groups(dense), time=self.context.time)

    def state_dict(self) -> dict[str, Any]:
        """The state of the training, and the updater's; patterns are buffers of the model."""
        return {**super().state_dict(), "updater": self._updater.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(state)
        self._updater.load_state_dict(state["updater"])


def _sparse(model: nn.Module, context: TrainingContext) -> nn.Module:
    """The model with sparse layers for its linear ones: connections at random, by ERK."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    sizes = [layer.weight.numel() for layer in layers]
    shapes = [(layer.out_features, layer.in_features) for layer in layers]
    densities = patterns.erdos_renyi_kernel(shapes, _density(context, sum(sizes)))
    for index, (layer, size) in enumerate(zip(layers, sizes, strict=True)):
        # Rounded down: together they may not exceed the target by a single weight.
        density = int(densities[index] * size) / size
        seed = (context.settings.seed * len(layers) + index) % (MAX_SEED + 1)
        pattern = patterns.uniform(*shapes[index], density, seed)
        replace_module(model, layer, _drawn(layer, pattern, seed))
    return model


def _density(context: TrainingContext, linear: int) -> float:
    """Of the linear layers together: all others stay dense."""
    target = context.settings.target
    assert target is not None
    if any(isinstance(module, SparseLinear) for module in context.build().modules()):
        raise InputError(
            f"method rigl draws its own sparse layers and {context.settings.model} has some "
            "already; choose a dense model, such as mlp:300-100"
        )
    left = (1.0 - target.value) * context.weights - (context.weights - linear)
    if left <= 0.0:
        raise InputError(
            f"target_zeros is {target.value}, but only {linear / context.weights:.1%} of the "
            "weights are in linear layers, which alone become sparse by rigl"
        )
    return left / linear


def _drawn(layer: nn.Linear, pattern: patterns.Pattern, seed: int) -> SparseLinear:
    """A sparse layer of a pattern, from He's initialisation."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return SparseLinear(
            layer.in_features, layer.out_features, layer.bias is not None, pattern=pattern
        )


def _dense(sparse: nn.Module, context: TrainingContext) -> nn.Module:
    """The network of the settings with the weights of the sparse one."""
    state = sparse.state_dict()
    for name, layer in sparse.named_modules():
        if isinstance(layer, SparseLinear):
            for key in ("values", "row_offsets", "column_indices"):
                del state[f"{name}.{key}"]
            state[f"{name}.weight"] = layer.to_dense().detach()
    dense = context.build()
    dense.load_state_dict(state)
    return dense
