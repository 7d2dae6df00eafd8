"""PyTorch layers that skip the zeros of training: in activations and in their gradients."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.nn") from error

from espalier.nn.layers import ZeroSkipConv2d, ZeroSkipLinear
from espalier.nn.relu import ZeroSkipReLU
from espalier.nn.report import ModelReport, PassReport, model_report
from espalier.nn.swap import accelerate

__all__ = [
    "ModelReport",
    "PassReport",
    "ZeroSkipConv2d",
    "ZeroSkipLinear",
    "ZeroSkipReLU",
    "accelerate",
    "model_report",
]
