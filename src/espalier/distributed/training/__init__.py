"""Train networks of sparse layers on many processes, each with its rows and its samples."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.distributed.training") from error

from espalier.distributed.training.model import DistributedModel, sparse_network
from espalier.distributed.training.parallel_linear import DistributedSparseLinear, SummedLinear
from espalier.distributed.training.run import (
    Epoch,
    network_to_cut,
    read_settings,
    run_directory,
    train,
)

__all__ = [
    "DistributedModel",
    "DistributedSparseLinear",
    "Epoch",
    "SummedLinear",
    "network_to_cut",
    "read_settings",
    "run_directory",
    "sparse_network",
    "train",
]
