"""`espalier bench challenge --device cuda`: the challenge on a GPU, beside papers and cuSPARSE."""

from espalier.bench.gpu.run import DEFAULT_SECTIONS, SECTIONS, run

__all__ = ["DEFAULT_SECTIONS", "SECTIONS", "run"]
