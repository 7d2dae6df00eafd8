"""A network that another learns from: what it was before it became sparse."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, softmax

TEMPERATURE = 2.0


class Teacher:
    """Answers of a dense network, softened.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """

    def __init__(self) -> None:
        self._model: nn.Module | None = None

    def learn_from(self, model: nn.Module) -> None:
        """Keep a copy of this model as it is now."""
        self._model = copy.deepcopy(model).eval().requires_grad_(False)

    @property
    def knows(self) -> bool:
        """Whether there is a network to learn from."""
        return self._model is not None

    def loss(self, scores: Tensor, images: Tensor) -> Tensor:
        """How far the scores of a batch are from this network's, on the scale of cross-entropy."""
        assert self._model is not None
        with torch.no_grad():
            wanted = softmax(self._model(images) / TEMPERATURE, dim=1)
        given = log_softmax(scores / TEMPERATURE, dim=1)
        return TEMPERATURE**2 * kl_div(given, wanted, reduction="batchmean")

    def state_dict(self) -> dict[str, Any] | None:
        """Its weights; None if there is no network yet."""
        return None if self._model is None else self._model.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None, model: nn.Module) -> None:
        """Take weights again, with a model of the same shape to hold them."""
        if state is None:
            self._model = None
            return
        model.load_state_dict(state)
        self.learn_from(model)
