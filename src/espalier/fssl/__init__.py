"""FSSL: shape a network while it trains, by error, sparsity and processing time together."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.fssl") from error

from espalier.fssl.artefact import load, load_metadata, load_spec, save
from espalier.fssl.compact_report import CompactReport, compact_report
from espalier.fssl.compaction import compact
from espalier.fssl.find import find_groups
from espalier.fssl.groups import Groups, LayerUse, Units
from espalier.fssl.onnx import export_onnx
from espalier.fssl.optimizer import FSSLOptimizer, Progress
from espalier.fssl.time_model import TimeModel

__all__ = [
    "CompactReport",
    "FSSLOptimizer",
    "Groups",
    "LayerUse",
    "Progress",
    "TimeModel",
    "Units",
    "compact",
    "compact_report",
    "export_onnx",
    "find_groups",
    "load",
    "load_metadata",
    "load_spec",
    "save",
]
