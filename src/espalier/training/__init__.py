"""Train a network, make it sparse, compact it: `train` is the whole way."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.training") from error

from espalier.training.settings import Settings, Target

__all__ = ["Settings", "Target"]
