"""PyTorch layers that leave out zeros: those of activations and gradients, and those of weights."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.nn") from error

from espalier.nn import patterns, updaters
from espalier.nn.layers import ZeroSkipConv2d, ZeroSkipLinear
from espalier.nn.relu import ZeroSkipReLU
from espalier.nn.report import ModelReport, PassReport, model_report
from espalier.nn.sparse_linear import SparseLinear
from espalier.nn.swap import accelerate

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
