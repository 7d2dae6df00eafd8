"""FSSL: shape a network while it trains, by error, sparsity and processing time together."""

from espalier.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch", "train", "espalier.fssl") from error

from espalier.fssl.compaction.compact import compact
from espalier.fssl.compaction.report import CompactReport, compact_report
from espalier.fssl.groups.find import find_groups
from espalier.fssl.groups.groups import Groups, LayerUse, Units
from espalier.fssl.latency.model import TimeModel
from espalier.fssl.model_file.model_file import load, load_metadata, load_spec, save
from espalier.fssl.model_file.onnx import export_onnx
from espalier.fssl.shaping.optimizer import FSSLOptimizer, Progress

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
