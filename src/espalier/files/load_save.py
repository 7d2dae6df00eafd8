"""load(), save() and convert(): which format a path means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from espalier.errors import FileError, InputError
from espalier.files.atomic import replacing_file
from espalier.files.folder import load_folder, load_layer_file, save_folder
from espalier.files.layer_defaults import Bias, LoadOptions
from espalier.files.matrix_market import format_matrix
from espalier.files.records import LayerRecord
from espalier.files.safetensors import load_safetensors, save_safetensors
from espalier.files.tarball import load_tar, save_tar
from espalier.network import Activation, Network
from espalier.progress import Progress

TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar")
LAYER_SUFFIXES = (".tsv", ".tsv.gz", ".mtx", ".mtx.gz")


def load(
    path: str | os.PathLike[str],
    *,
    bias: Bias | None = None,
    clip: float | None = None,
    activation: Activation | None = None,
    neurons: int | Sequence[int] | None = None,
    layers: int | None = None,
    lazy: bool | None = None,
    progress: Progress | None = None,
) -> Network:
    """Read a network.

    Arguments:
        path: a folder or a tar (``.tar``, ``.tar.gz``, ``.tgz``) of layer files named like
            ``n1024-l7.tsv``, ``.tsv.gz`` or ``.mtx``; one such file, a network of one layer; or
            ``.safetensors`` as `save` writes it. Lines of layer files are ``input output value``,
            counted from 1.
        bias: one number, or for each layer one number or ``[outputs]``. Layer files do not hold
            it. By default what `save` wrote beside them; failing that the Graph Challenge's,
            -0.30, -0.35, -0.40 or -0.45, where the folder or tar is named ``neuron1024``,
            ``neuron4096``, ``neuron16384`` or ``neuron65536``.
        clip: upper bound of the outputs; by default 32 where the bias is the challenge's.
        activation: ``"relu"`` or ``"identity"``; by default as saved, else ``"relu"``.
        neurons: one width for all layers, or ``[inputs, outputs of layer 1, ...]``; by default as
            saved, else the N in ``nN-l7.tsv``, else the largest index where all layers agree.
        layers: read only the first so many.
        lazy: True reads layers when they are used and keeps none, False reads all now. By default
            a folder is lazy above 1 GiB; safetensors are read when used, and kept below 1 GiB.
            A tar cannot be lazy.
        progress: called as ``progress(done, total)``: layers, or for a tar its bytes.

    Raises:
        FileError: a file is missing, damaged or holds something else; the message names the
            file, the line and the fault.
        InputError: an argument is missing or does not fit.

    Source: the file formats of https://graphchallenge.mit.edu/data-sets.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "n2-l1.tsv").write_text("1 2 0.5\\n")
    ...     load(folder, bias=-0.25)[0].weights.toarray().tolist()
    [[0.0, 0.0], [0.5, 0.0]]
    """
    path = Path(path)
    options = LoadOptions(bias, clip, activation, neurons, layers)
    name = path.name.lower()
    if not path.exists():
        raise FileError(f"{path} does not exist")
    if path.is_dir():
        return load_folder(path, options, lazy, progress)
    if name.endswith(".safetensors"):
        _refuse_for_safetensors(bias=bias, clip=clip, activation=activation, neurons=neurons)
        return load_safetensors(path, lazy, layers, progress)
    if name.endswith(TAR_SUFFIXES):
        if lazy:
            raise InputError(f"lazy=True, but {path} is a tar: unpack it and load the folder")
        return load_tar(path, options, progress)
    if name.endswith(LAYER_SUFFIXES):
        return load_layer_file(path, options, progress)
    raise FileError(
        f"{path} has no suffix of a network: wanted a folder, .safetensors, "
        + ", ".join(TAR_SUFFIXES + LAYER_SUFFIXES)
    )


def save(
    network: Network, path: str | os.PathLike[str], *, progress: Progress | None = None
) -> None:
    """Write a network, layer by layer; what `load` reads back is equal bit for bit.

    The new file or folder takes the place of an old one only when it is whole.

    Arguments:
        network: the network.
        path: by its suffix: ``.safetensors``; ``.tar.gz``, ``.tgz`` or ``.tar`` of TSV; ``.mtx``,
            one file for one layer, else a folder of them; no suffix, or a ``/`` at the end: a
            folder of TSV. Layer files hold no bias: a ``network.json`` beside them does.
        progress: called as ``progress(layers done, layers)``.

    Raises:
        FileError: the path cannot be written, or names no format.

    >>> import tempfile
    >>> from espalier import Layer, Network
    >>> net = Network([Layer([[0.0, 0.1]], bias=-0.5)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(net, folder + "/net.safetensors")
    ...     load(folder + "/net.safetensors")[0] == net[0]
    True
    """
    is_folder = str(path).endswith((os.sep, "/")) or Path(path).is_dir()
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".mtx") and len(network) > 1:
        save_folder(network, path, "mtx", progress)
    elif is_folder or not path.suffix:
        save_folder(network, path, "tsv", progress)
    elif name.endswith(".mtx"):
        _save_market(network, path)
    elif name.endswith(".safetensors"):
        save_safetensors(network, path, progress)
    elif name.endswith(TAR_SUFFIXES):
        save_tar(network, path, progress)
    else:
        raise FileError(
            f"{path} has no suffix of a network: wanted .safetensors, .mtx, "
            + ", ".join(TAR_SUFFIXES)
            + ", or a / at the end for a folder of TSV"
        )


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    bias: Bias | None = None,
    clip: float | None = None,
    activation: Activation | None = None,
    neurons: int | Sequence[int] | None = None,
    layers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Read a network and write it in another format, layer by layer where it is large.

    Arguments:
        source: as for `load`, which also says what ``bias`` to ``layers`` mean.
        target: as for `save`.
        progress: called as ``progress(layers written, layers)``.

    Raises:
        FileError: the source cannot be read or the target not written; an old target stays.
    """
    network = load(
        source, bias=bias, clip=clip, activation=activation, neurons=neurons, layers=layers
    )
    save(network, target, progress=progress)


def _save_market(network: Network, path: Path) -> None:
    layer = network[0]
    record = LayerRecord.of(layer, with_bias=True).as_json()
    with replacing_file(path) as file:
        for text in format_matrix(layer.weights, row_first=False, record=record):
            file.write(text)


def _refuse_for_safetensors(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InputError(f"{name}={value!r} was given, but a safetensors file holds its own")
