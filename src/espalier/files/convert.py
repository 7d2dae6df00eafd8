"""Converting a network from one format to another."""

from __future__ import annotations

import os
from collections.abc import Sequence

from espalier.files.layer_defaults import Bias
from espalier.files.load_save import load, save
from espalier.network import Activation
from espalier.progress import Progress


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
