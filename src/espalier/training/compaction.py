"""Compact what is on disk: a saved model, or a training as far as it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from espalier import fssl
from espalier.errors import InputError
from espalier.training.finish import finish
from espalier.training.folder import Folder, save_model
from espalier.training.result import Network, TrainingResult, network
from espalier.training.run import BATCH, reopen
from espalier.training.shape import compact_shape, shape_of
from espalier.training.size import time_in_turns
from espalier.training.watch import Watch, unwatched


def compact_folder(path: Path, output: Path, *, on_notice: Callable[[str], None]) -> TrainingResult:
    """Compact the newest checkpoint of a training and save the result.

    Arguments:
        path: folder of the training; it is left as it is.
        output: the file to write.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Raises:
        FileError: no training there, or its data is gone or damaged.
        InputError: its data is not what it was begun with.
    """
    with reopen(Folder(path), on_notice) as course:
        result = finish(course, BATCH)
        save_model(result, output, course.job.data)
    return replace(result, path=output)


def compact_file(
    path: Path,
    output: Path,
    *,
    shape: tuple[int, ...] | None = None,
    batch: int = BATCH,
    watch: Watch = unwatched,
) -> tuple[Network, Network]:
    """Compact a model that `fssl.save` wrote and save the result.

    Arguments:
        path: the model's file; it is left as it is.
        output: the file to write.
        shape: of one input; by default the one the file names.
        batch: inputs of the timings.
        watch: shows the progress of measuring.

    Returns:
        The rows of the network before and after.

    Raises:
        FileError: the file is missing, damaged or no model.
        InputError: nobody says the shape of an input.
    """
    metadata = fssl.load_metadata(path)
    example = torch.zeros(1, *(shape or _shape(metadata, path)))
    model = fssl.load(path)
    groups = fssl.find_groups(model, example)
    with watch("timing layers", "timings") as progress:
        time = fssl.TimeModel.measure(groups, batch, progress=progress)
    small = fssl.compact(model, groups, time=time).eval()
    inputs = torch.rand(batch, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    seconds = time_in_turns({"before": model, "compact": small}, inputs)
    fssl.save(small, output, spec=metadata.get("spec"), metadata=metadata)
    weights = groups.weights()
    before, after = shape_of(groups, time), compact_shape(small, time)
    return (
        network("before", model, example, before, weights=weights, seconds=seconds["before"]),
        network("compact", small, example, after, weights=weights, seconds=seconds["compact"]),
    )


def _shape(metadata: dict[str, Any], path: Path) -> tuple[int, ...]:
    shape = metadata.get("inputs", {}).get("shape")
    if shape is None:
        raise InputError(f"{path} does not name the shape of an input; give it, such as 1x28x28")
    return tuple(shape)
