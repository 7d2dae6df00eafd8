"""Train a network, make it sparse, compact it: `train` does all of it."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.training") from error

from espalier.training.compaction import compact_file, compact_folder
from espalier.training.data import Data, Split
from espalier.training.data import load as load_data
from espalier.training.footprint import BATCH
from espalier.training.method_training import EpochMetrics
from espalier.training.result import NetworkSize, TrainingResult
from espalier.training.run import train
from espalier.training.run_directory import RunDirectory
from espalier.training.settings import Settings, Target

# Other names of the two.
Folder, Network = RunDirectory, NetworkSize

__all__ = [
    "BATCH",
    "Data",
    "EpochMetrics",
    "Folder",
    "Network",
    "NetworkSize",
    "RunDirectory",
    "Settings",
    "Split",
    "Target",
    "TrainingResult",
    "compact_file",
    "compact_folder",
    "load_data",
    "train",
]
