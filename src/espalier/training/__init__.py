"""Train a network, make it sparse, compact it: `train` is the whole way."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.training") from error

from espalier.training.compaction import compact_file, compact_folder
from espalier.training.data import Data, Split
from espalier.training.data import load as load_data
from espalier.training.result import Network, TrainingResult
from espalier.training.run import BATCH, train
from espalier.training.run_directory import Folder
from espalier.training.settings import Settings, Target

__all__ = [
    "BATCH",
    "Data",
    "Folder",
    "Network",
    "Settings",
    "Split",
    "Target",
    "TrainingResult",
    "compact_file",
    "compact_folder",
    "load_data",
    "train",
]
