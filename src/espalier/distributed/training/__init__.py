"""Train networks of sparse layers on many processes, each with its rows and its samples."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.distributed.training") from error

from espalier.distributed.training.model import DistributedModel, sparse_network
from espalier.distributed.training.parallel_linear import (
    ColumnParallelSparseLinear,
    RowParallelLinear,
)
from espalier.distributed.training.run import Epoch, network_to_cut, read_settings, train

DistributedSparseLinear = ColumnParallelSparseLinear  # the name that `espalier.distributed` has
SummedLinear = RowParallelLinear  # the name that it had before

__all__ = [
    "ColumnParallelSparseLinear",
    "DistributedModel",
    "DistributedSparseLinear",
    "Epoch",
    "RowParallelLinear",
    "SummedLinear",
    "network_to_cut",
    "read_settings",
    "sparse_network",
    "train",
]
