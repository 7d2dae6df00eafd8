"""`python -m benchmarks fssl`: sparse training and structured sparsity, beside others."""

from benchmarks.fssl.methods import METHODS
from benchmarks.fssl.run import SECTIONS, run
from benchmarks.fssl.settings import Settings

__all__ = ["METHODS", "SECTIONS", "Settings", "run"]
