"""Learning rates, and the optimisers they drive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from espalier.training.settings import Optimizer, Settings

# Factor of the peak learning rate at t, the part of a phase's steps that are done.
Schedule = Callable[[float], float]

MOMENTUM = 0.9
STEADY_PART, LAST_FACTOR = 0.7, 0.1


def cosine(t: float) -> float:
    """From 1 to 0 along half a cosine.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.

    >>> cosine(0.0), cosine(1.0)
    (1.0, 0.0)
    """
    return 0.5 * (1.0 + math.cos(math.pi * t))


def steady_then_tenth(t: float) -> float:
    """1 for the first 70 %, then down to a tenth: zeros need a rate that does not sink.

    Source: the steady rate from Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks", NIPS 2016.

    >>> steady_then_tenth(0.5), round(steady_then_tenth(1.0), 3)
    (1.0, 0.1)
    """
    late = max(0.0, t - STEADY_PART) / (1.0 - STEADY_PART)
    return 1.0 - late * (1.0 - LAST_FACTOR)


@dataclass(frozen=True)
class Recipe:
    """What suits a model: an optimiser, its peak learning rate, and the part of pixels to hide."""

    optimizer: Optimizer
    lr: float
    input_dropout: float = 0.0


# By the first word of the model. Without batch norm deep networks want small steps; the fixed
# sparse patterns of radixnet have few weights a row, which Adam scales each on its own.
RECIPES = {
    "mlp": Recipe("sgd", 0.05, input_dropout=0.2),
    "lenet5": Recipe("sgd", 0.05),
    "vgg-small": Recipe("sgd", 0.02),
    "radixnet": Recipe("adam", 1e-3),
    "resnet34": Recipe("sgd", 0.1),
    "resnet50": Recipe("sgd", 0.1),
    "fixup-resnet50": Recipe("sgd", 0.02),
}
ADAM_LR = 1e-3


def recipe(settings: Settings) -> Recipe:
    """What the settings say, and the model's own for what they leave open.

    >>> recipe(Settings(model="mlp:300-100", optimizer="adam"))
    Recipe(optimizer='adam', lr=0.001, input_dropout=0.2)
    """
    own = RECIPES[settings.model.partition(":")[0]]
    optimizer = settings.optimizer or own.optimizer
    usual = own.lr if optimizer == own.optimizer else {"adam": ADAM_LR, "sgd": 0.05}[optimizer]
    hidden = own.input_dropout if settings.input_dropout is None else settings.input_dropout
    return Recipe(optimizer, settings.lr or usual, hidden)


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """A fresh optimiser over all parameters; biases and batch norms do not decay."""
    decaying = [p for name, p in model.named_parameters() if _decays(name, p)]
    others = [p for name, p in model.named_parameters() if not _decays(name, p)]
    groups = [{"params": others, "weight_decay": 0.0}]
    if decaying:
        groups.insert(0, {"params": decaying, "weight_decay": settings.weight_decay})
    chosen = recipe(settings)
    if chosen.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=chosen.lr)
    return torch.optim.SGD(groups, lr=chosen.lr, momentum=MOMENTUM, nesterov=True)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    # A SparseLinear keeps its weights in one dimension.
    return parameter.ndim > 1 or name.endswith("values")
