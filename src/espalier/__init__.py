"""espalier: train sparse neural networks, shape them for the hardware, run them fast."""

from espalier.errors import (
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
from espalier.inference import Plan, Report, Result, compile, infer
from espalier.network import Layer, LayerSource, Network

__version__ = "0.1.0"

__all__ = [
    "EspalierError",
    "FileError",
    "InputError",
    "Layer",
    "LayerSource",
    "MissingExtraError",
    "Network",
    "NetworkError",
    "Plan",
    "Report",
    "Result",
    "compile",
    "infer",
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
]
