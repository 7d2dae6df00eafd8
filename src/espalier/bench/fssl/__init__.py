"""`espalier bench fssl`: sparse training and structured sparsity, beside PyTorch and others."""

from espalier.bench.fssl.goals import METHODS
from espalier.bench.fssl.run import SECTIONS, run
from espalier.bench.fssl.settings import Settings

__all__ = ["METHODS", "SECTIONS", "Settings", "run"]
