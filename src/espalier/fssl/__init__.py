"""FSSL: shape a network while it trains, by error, sparsity and processing time together."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.fssl") from error

from espalier.fssl.find import find_groups
from espalier.fssl.groups import Groups, LayerUse, Units
from espalier.fssl.optimizer import FSSLOptimizer, Progress

__all__ = ["FSSLOptimizer", "Groups", "LayerUse", "Progress", "Units", "find_groups"]
