"""ONNX export, for runtimes other than PyTorch: dense layers of the compact shape."""

from __future__ import annotations

import copy
import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import InputError, MissingExtraError, NetworkError
from espalier.files.atomic import replacing_file
from espalier.fssl.compaction.resize import linear, replace_module
from espalier.fssl.groups.modules import evaluating, is_sparse, without_compiler
from espalier.network import read_layer
from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.torch_tools import DOES_NOT_FIT

# Another runtime sums in another order: the largest difference, as a share of the largest output.
RTOL = 1e-4
_PYTORCH_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    ZeroSkipConv2d: nn.Conv2d,
    ZeroSkipLinear: nn.Linear,
    ZeroSkipReLU: nn.ReLU,
}


def export_onnx(model: nn.Module, path: str | Path, example: Any) -> None:
    """Write a model as ONNX, with a batch of any size; a file there is replaced whole.

    Sparse layers are written dense, with a warning that names them. Where onnxruntime is
    installed the file is run on the example and compared with the model before it is written.

    Arguments:
        model: compact or not, on the CPU; it is left as it is.
        example: one batch, or a tuple of the model's arguments.

    Raises:
        MissingExtraError: onnx is not installed.
        InputError: the model cannot be exported.
        NetworkError: onnxruntime gets another result from the file.
        FileError: the file cannot be written.
    """
    if find_spec("onnx") is None:
        raise MissingExtraError("onnx", "onnx", "export_onnx")
    arguments = example if isinstance(example, tuple) else (example,)
    dense = _dense_copy(without_compiler(model))
    with evaluating(dense):
        wanted = _outputs(dense, arguments)
        content = _export(dense, arguments, len(wanted))
        if find_spec("onnxruntime") is not None:
            _check_outputs(wanted, content, arguments)
    with replacing_file(Path(path)) as file:
        file.write(content)


def _dense_copy(model: nn.Module) -> nn.Module:
    """The model of PyTorch's own layers alone."""
    dense = copy.deepcopy(model)
    sparse = {name: module for name, module in dense.named_modules() if is_sparse(module)}
    if is_sparse(dense):
        dense = nn.Sequential(dense)
    for module in sparse.values():
        replace_module(dense, module, linear(module, read_layer(module)))
    if sparse:
        warnings.warn(
            f"sparse layers are written dense, zeros and all: {', '.join(sparse)}; ONNX has no "
            "sparse weights that run faster. espalier.Network.from_torch keeps them",
            stacklevel=3,
        )
    for module in dense.modules():
        module.__class__ = _PYTORCH_LAYERS.get(type(module), type(module))
    return dense


def _outputs(model: nn.Module, arguments: tuple[Any, ...]) -> list[Tensor]:
    """What the model gives for the example, one tensor or several."""
    try:
        given = model(*arguments)
    except DOES_NOT_FIT as error:
        raise InputError(f"the model does not run on the example: {error}") from error
    outputs = list(given) if isinstance(given, (list, tuple)) else [given]
    if not outputs or not all(isinstance(each, Tensor) for each in outputs):
        raise InputError(
            f"the model returns a {type(given).__name__}, wanted a tensor or a tuple of tensors"
        )
    return outputs


def _export(model: nn.Module, arguments: tuple[Any, ...], outputs: int) -> bytes:
    """By PyTorch's tracing exporter, which needs onnx alone; the newer one needs more packages."""
    input_names = [f"input{index}" for index in range(len(arguments))]
    output_names = ["output"] if outputs == 1 else [f"output{index}" for index in range(outputs)]
    content: Any = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                model,
                arguments,
                content,
                input_names=input_names,
                output_names=output_names,
                dynamic_axes={name: {0: "batch"} for name in (*input_names, *output_names)},
                dynamo=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"the model cannot be exported to ONNX: {error}") from error
    written: bytes = content.getvalue()
    return written


def _check_outputs(outputs: list[Tensor], content: bytes, arguments: tuple[Any, ...]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    given = (each.numpy() for each in arguments if isinstance(each, Tensor))
    found = session.run(None, dict(zip(names, given, strict=True)))
    for came, output in zip(found, outputs, strict=True):
        wanted = output.numpy()
        gap = float(np.abs(came - wanted).max(initial=0.0))
        allowed = RTOL * float(np.abs(wanted).max(initial=0.0))
        if not gap <= allowed:
            raise NetworkError(
                f"onnxruntime differs by {gap:.3g} on the example, allowed {allowed:.3g}; "
                "the file is not written"
            )
