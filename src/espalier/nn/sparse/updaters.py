"""Changing the patterns of sparse layers while they train: prune some connections, grow others.

Call ``updater.step()`` after every ``optimizer.step()``; most calls only count. The number of
connections of a layer stays what it is. In data-parallel training every process must hold the same
seed; RigL then adds up the gradients of all of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import InputError
from espalier.nn.sparse.linear import SparseLinear, replace_entries

# Gradients that exist at once while RigL searches for the largest ones.
MOST_GRADIENTS = 1 << 22


def change_pattern(
    layer: SparseLinear, optimizer: torch.optim.Optimizer | None, keep: Tensor, grow: Tensor
) -> None:
    """Remove connections and add others; the optimiser's state follows its connection.

    Arguments:
        optimizer: whose state for ``layer.values``, every tensor of its size, is kept aligned;
            None where there is none.
        keep: bool ``[nonzeros]``: which connections stay, with their values and state.
        grow: int64: ``row * in_features + column`` of connections to add, with value and state 0.

    Raises:
        InputError: a connection to grow that exists already, comes twice, or lies outside.

    >>> layer = SparseLinear.from_dense(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    >>> change_pattern(layer, None, torch.tensor([True, False]), torch.tensor([2]))
    >>> layer.to_dense().tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    if keep.shape != (layer.nonzeros,) or keep.dtype != torch.bool:
        raise InputError(
            f"keep is {keep.dtype} {list(keep.shape)}, wanted torch.bool [{layer.nonzeros}]"
        )
    kept = keep.cpu().nonzero()[:, 0]
    places = torch.cat([layer.places()[kept], grow.cpu()])
    source = torch.cat([kept, torch.full((len(grow),), -1)])
    places, order = places.sort()
    _check_places(layer, places)
    state = optimizer.state.get(layer.values, {}) if optimizer is not None else {}
    followers = [
        each
        for each in state.values()
        if isinstance(each, Tensor) and each.shape == layer.values.shape
    ]
    layer.replace_places(places, source[order])
    for each in followers:
        replace_entries(each, source[order])


def _check_places(layer: SparseLinear, places: Tensor) -> None:
    size = layer.in_features * layer.out_features
    if len(places) and not 0 <= int(places[0]) <= int(places[-1]) < size:
        raise InputError(f"grow holds places outside 0 ... {size - 1}")
    if (places.diff() == 0).any():
        raise InputError("grow holds a connection that exists already, or one twice")


def _largest(sizes: Tensor, count: int) -> Tensor:
    """Where the largest ones are, in any order; found without sorting the others."""
    if not 0 < count < len(sizes):
        return torch.arange(min(count, len(sizes)))
    smallest_first = np.argpartition(sizes.float().cpu().numpy(), len(sizes) - count)
    return torch.from_numpy(smallest_first[len(sizes) - count :])


class Updater(ABC):
    """What the updaters share: when they act, and on how many connections.

    Arguments:
        model: all of its `SparseLinear` layers take part.
        optimizer: of the model.
        steps: optimiser steps of the whole training.
        every: steps between two updates.
        fraction: of a layer's connections that an update replaces at the start; it falls along
            half a cosine to 0 at `stop`.
        stop: part of the training behind which patterns stay.
        seed: of all random choices.

    Raises:
        InputError: an option out of range, or a model without a `SparseLinear`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        steps: int,
        every: int = 100,
        fraction: float = 0.3,
        stop: float = 0.75,
        seed: int = 0,
    ) -> None:
        self.layers = [each for each in model.modules() if isinstance(each, SparseLinear)]
        if not self.layers:
            raise InputError("model has no SparseLinear layer, so there is no pattern to change")
        if steps < 1 or every < 1 or not 0.0 <= fraction <= 1.0 or not 0.0 <= stop <= 1.0:
            raise InputError(
                f"steps is {steps}, every {every}, fraction {fraction} and stop {stop}; wanted "
                "the first two at least 1, the others from 0 to 1"
            )
        self.optimizer = optimizer
        self.steps, self.every, self.fraction, self.stop = steps, every, fraction, stop
        self.seed, self.done = seed, 0

    def acts_at(self, step: int) -> bool:
        """Whether the patterns change behind this optimiser step, counted from 1."""
        return step % self.every == 0 and step < self.stop * self.steps

    def fraction_at(self, step: int) -> float:
        """The fraction of connections replaced at a step."""
        return self.fraction / 2 * (1.0 + math.cos(math.pi * step / (self.stop * self.steps)))

    def step(self) -> None:
        """Count an optimiser step, and change the patterns where it is time."""
        self.done += 1
        if not self.acts_at(self.done):
            return
        for index, layer in enumerate(self.layers):
            room = layer.in_features * layer.out_features - layer.nonzeros
            count = min(round(self.fraction_at(self.done) * layer.nonzeros), room)
            grow = self.choose(index, count)
            keep = torch.ones(layer.nonzeros, dtype=torch.bool)
            keep[_largest(-layer.values.detach().abs(), len(grow))] = False
            change_pattern(layer, self.optimizer, keep, grow)

    @abstractmethod
    def choose(self, index: int, count: int) -> Tensor:
        """Places of at most `count` connections to grow in layer `index`: none that exists now."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold beside model and optimiser."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another updater with the same options stood."""
        self.done = int(state["done"])


class SET(Updater):
    """Sparse evolutionary training: the smallest weights go, random connections come.

    Source: D. C. Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity inspired by network science", Nature Communications 9, 2018.

    >>> layer = SparseLinear(8, 4, density=0.25)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    >>> updater = SET(layer, optimizer, steps=100, every=10)
    >>> for _ in range(10):
    ...     updater.step()
    >>> layer.nonzeros, int((layer.values == 0.0).sum())
    (8, 2)
    """

    def choose(self, index: int, count: int) -> Tensor:
        """Places drawn at random among those without a connection."""
        layer = self.layers[index]
        rng = np.random.default_rng((self.seed, self.done, index))
        taken = layer.places().numpy()
        # The n-th place without a connection lies behind as many as begin before it.
        free = layer.in_features * layer.out_features - len(taken)
        drawn = np.sort(rng.choice(free, count, replace=False, shuffle=False))
        before = np.searchsorted(taken - np.arange(len(taken)), drawn, side="right")
        return torch.from_numpy(drawn + before)


class RigL(Updater):
    """The smallest weights go; of the others those come that have the largest gradients.

    The gradients by weights that do not exist are needed at an update alone. They are made of the
    inputs and gradients of the layers' last calls, one block of rows after the other; nothing of
    the size of the dense weights is kept.

    Source: U. Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020.

    >>> layer = SparseLinear(8, 4, density=0.25)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> updater = RigL(layer, optimizer, steps=100, every=1)
    >>> layer(torch.randn(3, 8)).square().sum().backward()
    >>> updater.step()
    >>> layer.nonzeros, int((layer.values == 0.0).sum())
    (8, 2)
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> None:
        super().__init__(model, optimizer, **options)
        self._seen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.layers]
        for index, layer in enumerate(self.layers):
            layer.register_forward_hook(self._watch(index))

    def _watch(self, index: int) -> Any:
        def remember(layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
            if self.acts_at(self.done + 1) and y.requires_grad:
                x = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
                seen = self._seen[index]
                y.register_hook(lambda dy: seen.append((x, dy.detach().reshape(len(x), -1))))

        return remember

    def step(self) -> None:
        """Count an optimiser step, and change the patterns where it is time."""
        super().step()
        for seen in self._seen:
            seen.clear()

    def choose(self, index: int, count: int) -> Tensor:
        """The places without a connection that have the largest gradients, if any are known."""
        best, where = torch.empty(0), torch.empty(0, dtype=torch.int64)
        for begin, sizes in self._gradient_sizes(index):
            enough = best.min() if 0 < len(best) == count else -1.0
            places = (sizes > enough).nonzero()[:, 0]
            best = torch.cat([best, sizes[places].cpu()])
            where = torch.cat([where, places.cpu() + begin])
            chosen = _largest(best, count)
            best, where = best[chosen], where[chosen]
        return where

    def _gradient_sizes(self, index: int) -> Iterator[tuple[int, Tensor]]:
        """Blocks of rows of the dense gradient's absolute values, -1 where connections exist.

        Each comes with the place of its first entry.
        """
        layer, seen = self.layers[index], self._seen[index]
        rows = max(1, MOST_GRADIENTS // max(1, layer.in_features))
        for begin in range(0, layer.out_features if seen else 0, rows):
            end = min(begin + rows, layer.out_features)
            block: Any = sum(dy[:, begin:end].float().t() @ x.float() for x, dy in seen)
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(block)
            entries = slice(*layer.row_offsets[[begin, end]].tolist())
            places = layer.places()[entries] - begin * layer.in_features
            sizes = block.abs_().flatten()
            sizes[places.to(sizes.device)] = -1.0
            yield begin * layer.in_features, sizes
