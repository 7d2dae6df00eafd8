"""One file for a model: safetensors with a JSON manifest, checked byte by byte on load.

No pickle: loading runs no code of the file. Every tensor keeps its name of the ``state_dict``;
a sparse layer is three dense tensors. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from espalier.errors import FileError, InputError
from espalier.files.container import Contents, Format, read_tensors, write_tensors
from espalier.fssl.compaction.manifest import describe, entries_as_json
from espalier.fssl.compaction.report import find_report
from espalier.fssl.groups.modules import without_compiler
from espalier.fssl.model_file.restore import BUILD_KEYS, restore

MODEL = Format("espalier-model", 2, ("manifest", "metadata"))


def save(
    model: nn.Module,
    path: str | Path,
    *,
    spec: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model, compact or not, to one safetensors file; a file there is replaced whole.

    Arguments:
        model: any module whose ``state_dict`` holds tensors alone.
        spec: the arguments of `espalier.nn.networks.build` that make the original:
            ``{"spec": "mlp:300-100", "in_channels": 1, "size": 28, "num_classes": 10}``. With
            them `load` needs no model.
        metadata: anything JSON holds, for the user: `load_metadata` gives it back.

    Raises:
        InputError: a model, spec or metadata that a file cannot hold.
        FileError: the file cannot be written.

    >>> import tempfile
    >>> model = nn.Linear(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/model.safetensors", metadata={"seed": 0})
    ...     same = load(f"{folder}/model.safetensors", nn.Linear(3, 2))
    >>> torch.equal(same.weight, model.weight)
    True
    """
    if spec is not None and (not isinstance(spec, Mapping) or set(spec) != BUILD_KEYS):
        raise InputError(f"spec is {spec!r}, wanted a dict of {sorted(BUILD_KEYS)}")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InputError(f"metadata is a {type(metadata).__name__}, wanted a dict")
    model = without_compiler(model)
    tensors = _state(model)
    report = find_report(model)
    manifest = {
        "model": type(model).__name__,
        "modules": entries_as_json(describe(model)),
        "build": None if spec is None else dict(spec),
        "compaction": None if report is None else report.as_json(),
    }
    values = {"manifest": manifest, "metadata": dict(metadata or {})}
    for key, name in (("manifest", "spec"), ("metadata", "metadata")):
        try:
            json.dumps(values[key], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} does not fit into JSON: {error}") from error
    if spec is not None:
        _check_rebuilds(manifest, tensors)
    write_tensors(Path(path), MODEL, values, safetensors.torch.save(tensors))


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Read a model that `save` wrote, bit for bit.

    Arguments:
        path: the file.
        model: the original that the saved model came from, with any weights; it is left as it
            is. Not needed where the file says how to build it.

    Returns:
        the model, in evaluation mode, on the CPU.

    Raises:
        InputError: the model is no module.
        FileError: the file is missing, cut short, changed, of another format or a newer version,
            or not of this model.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}, wanted a torch.nn.Module")
    contents = _read(path)
    # Copies lie in memory as PyTorch's own tensors do.
    tensors = {name: tensor.clone() for name, tensor in contents.tensors.items()}
    try:
        return restore(contents.values["manifest"], tensors, copy.deepcopy(model)).eval()
    except FileError as error:
        raise FileError(f"{path}: {error}") from error


def load_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata that `save` was given.

    Raises:
        FileError: as `load` does.
    """
    metadata: dict[str, Any] = _read(path).values["metadata"]
    return metadata


def load_spec(path: str | Path) -> dict[str, Any] | None:
    """The spec that `save` was given, or None.

    Raises:
        FileError: as `load` does.
    """
    spec: dict[str, Any] | None = _read(path).values["manifest"].get("build")
    return spec


def _check_rebuilds(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a spec that would make a file nobody can load."""
    try:
        restore(json.loads(json.dumps(manifest)), tensors, None)
    except FileError as error:
        raise InputError(f"spec {manifest['build']} does not make this model: {error}") from error


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model, each with memory of its own."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}, wanted a torch.nn.Module")
    seen: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if seen.setdefault(id(parameter), name) != name:
            raise InputError(
                f"{name} and {seen[id(parameter)]} are one parameter, which a file would part"
            )
    tensors = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            raise InputError(f"{name} is no dense tensor with values, which a file cannot hold")
        tensors[name] = value.detach().cpu().contiguous().clone()
    return tensors


def _read(path: str | Path) -> Contents[Tensor]:
    return read_tensors(Path(path), MODEL, safetensors.torch.load, _checksum_1)


def _checksum_1(texts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in MODEL.keys:
        digest.update(f"{key}\0{texts.get(key)}\0".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
