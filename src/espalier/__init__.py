"""espalier: train sparse neural networks, shape them for the hardware, run them fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from espalier.errors import (
    DeviceError,
    DeviceMemoryError,
    EspalierError,
    FileError,
    InputError,
    MissingExtraError,
    NetworkError,
)
from espalier.files import (
    convert,
    load,
    load_categories,
    load_images,
    load_inputs,
    load_labels,
    save,
    save_categories,
)
from espalier.generate import challenge_images, radixnet, random_network
from espalier.inference import GpuPlan, Plan, Report, Result, compile, infer
from espalier.network import Layer, LayerSource, Network
from espalier.partitioning import Partition, load_partition, partition

if TYPE_CHECKING:
    from espalier.nn import accelerate, model_report

__version__ = "0.1.0"

__all__ = [
    "DeviceError",
    "DeviceMemoryError",
    "EspalierError",
    "FileError",
    "InputError",
    "Layer",
    "LayerSource",
    "MissingExtraError",
    "Network",
    "NetworkError",
    "GpuPlan",
    "Partition",
    "Plan",
    "Report",
    "Result",
    "compile",
    "infer",
    "load_partition",
    "partition",
    "challenge_images",
    "radixnet",
    "random_network",
    "convert",
    "load",
    "load_categories",
    "load_images",
    "load_inputs",
    "load_labels",
    "save",
    "save_categories",
    "accelerate",
    "model_report",
]

_NEED_TORCH = {"accelerate", "model_report"}


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for: torch takes a second, and is optional."""
    if name in _NEED_TORCH:
        return getattr(import_module("espalier.nn"), name)
    raise AttributeError(f"module 'espalier' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
