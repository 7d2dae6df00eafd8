"""`python -m benchmarks challenge --device cuda`: the challenge on a GPU."""

from benchmarks.challenge_gpu.run import DEFAULT_SECTIONS, SECTIONS, run

__all__ = ["DEFAULT_SECTIONS", "SECTIONS", "run"]
