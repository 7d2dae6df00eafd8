"""Compact what is on disk: a saved model, or a training as far as it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from espalier import fssl
from espalier.progress import Watch, silent
from espalier.training.footprint import Shape, compact_shape, shape_of
from espalier.training.result import Network, TrainingResult, network
from espalier.training.run import BATCH, reopen, times_of
from espalier.training.run_directory import Folder, save_model
from espalier.training.settings import TimeSource
from espalier.training.size import time_models
from espalier.training.summary import finish


def compact_folder(path: Path, output: Path, *, on_notice: Callable[[str], None]) -> TrainingResult:
    """Compact the newest checkpoint of a training and save the result.

    Arguments:
        path: folder of the training; it is left as it is.
        output: the file to write.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Raises:
        FileError: no training there, none of its checkpoints is whole, or its data is gone or
            damaged.
        InputError: its data is not what it was begun with.
    """
    with reopen(Folder(path), on_notice) as course:
        result = finish(course, BATCH)
        save_model(result, output, course.job.data)
    return replace(result, path=output)


def compact_file(
    path: Path, output: Path, *, time: TimeSource = "measured", watch: Watch = silent
) -> tuple[Network, Network]:
    """Compact a model that `fssl.save` wrote with its spec, and save the result.

    Arguments:
        path: the model's file; it is left as it is.
        output: the file to write.
        time: where the times come from that decide between dense and CSR.
        watch: shows the progress of measuring.

    Returns:
        The rows of the network before and after.

    Raises:
        FileError: the file is missing, damaged, no model, or does not say how to build it.
    """
    model, spec = fssl.load(path), fssl.load_spec(path)
    assert spec is not None
    inputs = torch.rand(BATCH, spec["in_channels"], spec["size"], spec["size"])
    groups = fssl.find_groups(model, inputs[:1])
    times = times_of(groups, time, watch)
    small = fssl.compact(model, groups, time=times).eval()
    fssl.save(small, output, spec=spec, metadata=fssl.load_metadata(path))
    seconds = time_models({"before": model, "compact": small}, inputs)
    weights = groups.weights()

    def row(name: str, module: nn.Module, shape: Shape) -> Network:
        return network(
            name, module, inputs[:1], shape, weights=weights, seconds=seconds[name], error=None
        )

    before, after = shape_of(groups, times), compact_shape(small, times)
    return row("before", model, before), row("compact", small, after)
