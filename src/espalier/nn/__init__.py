"""PyTorch layers that leave out zeros: those of activations and gradients, and those of weights."""

import sys

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.nn") from error

from espalier.nn.sparse import patterns, updaters
from espalier.nn.sparse.linear import SparseLinear
from espalier.nn.zeroskip.accelerate import accelerate
from espalier.nn.zeroskip.layers import ZeroSkipConv2d, ZeroSkipLinear
from espalier.nn.zeroskip.relu import ZeroSkipReLU
from espalier.nn.zeroskip.report import ModelReport, PassReport, model_report

__all__ = [
    "ModelReport",
    "PassReport",
    "SparseLinear",
    "ZeroSkipConv2d",
    "ZeroSkipLinear",
    "ZeroSkipReLU",
    "accelerate",
    "model_report",
    "patterns",
    "updaters",
]

# Users import these two as modules of this package.
sys.modules[f"{__name__}.patterns"] = patterns
sys.modules[f"{__name__}.updaters"] = updaters
