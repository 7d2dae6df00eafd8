"""`espalier bench sparsetrain`: training that skips zeros, beside PyTorch and the paper."""

from espalier.bench.sparsetrain.published import NETWORKS
from espalier.bench.sparsetrain.run import SECTIONS, run
from espalier.bench.sparsetrain.settings import MODELS, Settings

__all__ = ["MODELS", "NETWORKS", "SECTIONS", "Settings", "run"]
