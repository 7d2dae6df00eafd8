"""One file for a model: safetensors with a JSON manifest, checked byte by byte on load.

No pickle: loading runs no code of the file. Every tensor keeps its name of the ``state_dict``;
a sparse layer is three dense tensors. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import copy
import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from espalier.errors import EspalierError, FileError, InputError
from espalier.files.atomic import replacing_file
from espalier.files.streams import reading
from espalier.fssl.compaction.manifest import (
    check_original,
    describe,
    entries_as_json,
    read_entries,
)
from espalier.fssl.compaction.report import attach, find_report, report_from_json
from espalier.fssl.model_file.restore import fit
from espalier.nn import networks

FORMAT = "espalier-model"
FORMAT_VERSION = "1"
_BUILD_KEYS = {"spec", "in_channels", "size", "num_classes"}


class Content(NamedTuple):
    """A file that was read and found whole."""

    manifest: dict[str, Any]
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


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
    if spec is not None and (not isinstance(spec, Mapping) or set(spec) != _BUILD_KEYS):
        raise InputError(f"spec is {spec!r}, wanted a dict of {sorted(_BUILD_KEYS)}")
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    tensors = _state(model)
    report = find_report(model)
    manifest = {
        "model": type(model).__name__,
        "modules": entries_as_json(describe(model)),
        "build": None if spec is None else dict(spec),
        "compaction": None if report is None else report.as_json(),
    }
    if spec is not None:
        _check_rebuilds(manifest, tensors)
    texts = {
        "manifest": _to_json(manifest, "spec"),
        "metadata": _to_json(metadata or {}, "metadata"),
    }
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **texts,
        "sha256": _checksum(tensors, texts),
    }
    with replacing_file(Path(path)) as file:
        file.write(safetensors.torch.save(tensors, header))


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
    path = Path(path)
    content = _read(path)
    try:
        return _restore(content, copy.deepcopy(model) if model is not None else None).eval()
    except FileError as error:
        raise FileError(f"{path}: {error}") from error


def load_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata that `save` was given.

    Raises:
        FileError: as `load` does.
    """
    return _read(Path(path)).metadata


def load_spec(path: str | Path) -> dict[str, Any] | None:
    """The spec that `save` was given, or None.

    Raises:
        FileError: as `load` does.
    """
    spec: dict[str, Any] | None = _read(Path(path)).manifest.get("build")
    return spec


def _restore(content: Content, model: nn.Module | None) -> nn.Module:
    if model is None:
        model = _build(content.manifest.get("build"))
    entries = read_entries(content.manifest.get("modules"))
    compaction = content.manifest.get("compaction")
    report = None if compaction is None else report_from_json(compaction)
    check_original(model, entries if report is None else report.original)
    fit(model, entries, content.tensors)
    if report is not None:
        attach(model, report)
    return model


def _build(arguments: Any) -> nn.Module:
    """The original, without memory for its weights where its layers can do without."""
    if arguments is None:
        raise FileError("the file does not say how to build its model: load(path, model=original)")
    if not isinstance(arguments, dict) or set(arguments) != _BUILD_KEYS:
        raise FileError(f"the file builds its model from {arguments}, wanted {sorted(_BUILD_KEYS)}")
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model: nn.Module = networks.build(**arguments)
            return model
    except (EspalierError, TypeError, ValueError, RuntimeError) as error:
        raise FileError(f"no model can be built from {arguments}: {error}") from error


def _check_rebuilds(manifest: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuse a spec that would make a file nobody can load."""
    try:
        _restore(Content(json.loads(_to_json(manifest, "spec")), {}, tensors), None)
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


def _to_json(content: Any, name: str) -> str:
    try:
        return json.dumps(content, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} does not fit into JSON: {error}") from error


def _read(path: Path) -> Content:
    """Read a file and check that it is whole.

    Raises:
        FileError: it is not.
    """
    with reading(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder, wanted a file", str(path))
        if not path.is_file():
            raise FileNotFoundError
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                _check_format(path, header)
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise FileError(f"{path} is damaged or no safetensors file: {error}") from error
    texts = {key: header.get(key, "") for key in ("manifest", "metadata")}
    if header.get("sha256") != _checksum(tensors, texts):
        raise FileError(f"{path} has changed since it was written; copy it anew")
    manifest, metadata = (_from_json(path, text) for text in texts.values())
    return Content(manifest, metadata, tensors)


def _check_format(path: Path, header: dict[str, str]) -> None:
    if header.get("format") != FORMAT:
        raise FileError(
            f"{path} has format {header.get('format')!r}, wanted {FORMAT!r}; networks of "
            "espalier.save are for espalier.load"
        )
    if header.get("format_version") != FORMAT_VERSION:
        raise FileError(
            f"{path} has format version {header.get('format_version')!r}, this espalier reads "
            f"{FORMAT_VERSION!r}; a newer espalier may read it"
        )


def _from_json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} has metadata that is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise FileError(f"{path} has metadata that is no JSON object")
    return content


def _checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """SHA-256 of all that a file says: its texts, and each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    for key in sorted(texts):
        digest.update(f"{key}\0{texts[key]}\0".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
