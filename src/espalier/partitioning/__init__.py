"""Share out the rows of every layer among parts, so that few words must be sent between them."""

from espalier.partitioning.partition import Partition, load_partition
from espalier.partitioning.partitioners import METHODS, Method, partition
from espalier.partitioning.prediction import Prediction, predict
from espalier.partitioning.report import PartitionReport
from espalier.partitioning.volume import Volume, layer_volume

__all__ = [
    "METHODS",
    "Method",
    "Partition",
    "PartitionReport",
    "Prediction",
    "Volume",
    "layer_volume",
    "load_partition",
    "partition",
    "predict",
]
