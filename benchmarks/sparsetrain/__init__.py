"""`python -m benchmarks sparsetrain`: training that skips zeros, beside PyTorch and the paper."""

from benchmarks.sparsetrain.published import NETWORKS
from benchmarks.sparsetrain.run import SECTIONS, run
from benchmarks.sparsetrain.settings import MODELS, Settings

__all__ = ["MODELS", "NETWORKS", "SECTIONS", "Settings", "run"]
