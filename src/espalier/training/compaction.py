"""The compact network and the table of what was gained: of a training, or of what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from espalier import fssl
from espalier.errors import FileError
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch, silent
from espalier.training.context import TrainingContext
from espalier.training.data import load_for
from espalier.training.footprint import (
    BATCH,
    Footprint,
    compact_footprint,
    footprint_of,
    make_time_model,
    size_of,
    time_models,
)
from espalier.training.loop import accuracy
from espalier.training.method_training import EpochMetrics, MethodTraining
from espalier.training.methods import phases_of
from espalier.training.result import NetworkSize, TrainingResult
from espalier.training.run_directory import RunDirectory, save_model
from espalier.training.settings import TimeSource


def summarise(training: MethodTraining) -> TrainingResult:
    """Compact what was trained, as far as it went, and compare it with the start network."""
    context = training.context
    dense, model = context.build().eval(), training.trainer.compact().eval()
    full = Footprint(context.weights, context.start.full_widths, context.seconds)
    left = compact_footprint(model, context.time)
    images = context.data.test.images
    rows = _sizes(
        {
            "dense": _Candidate(dense, full, _dense_error(training.history)),
            "compact": _Candidate(model, left, 1.0 - accuracy(model, context.data.test)),
        },
        images.repeat(-(-BATCH // len(images)), 1, 1, 1)[:BATCH].contiguous(),
        context.weights,
    )
    return TrainingResult(
        settings=context.settings,
        model=model,
        dense=rows[0],
        compact=rows[1],
        reached=_reached(context, left),
        history=tuple(training.history),
        batch=BATCH,
    )


@contextmanager
def reopen(directory: RunDirectory, on_notice: Callable[[str], None]) -> Iterator[MethodTraining]:
    """A training as its newest whole checkpoint left it, for the block.

    Raises:
        FileError: there is none.
    """
    settings = directory.settings()
    with torch_threads(settings.threads):
        data = load_for(settings)
        directory.check_same(settings, data.fingerprint)
        context = TrainingContext(settings, data, directory.times())
        training = MethodTraining(context, phases_of(settings), directory)
        if not training.load_newest(on_notice, otherwise="none is whole"):
            raise FileError(
                f"{directory.path} has no whole checkpoint yet; train on: espalier train --resume "
                f"--output {directory.path}"
            )
        yield training


def compact_folder(path: Path, output: Path, *, on_notice: Callable[[str], None]) -> TrainingResult:
    """Compact the newest checkpoint of a training and save the result.

    Arguments:
        path: directory of the training; it is left as it is.
        output: the file to write.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Raises:
        FileError: no training there, none of its checkpoints is whole, or its data is gone or
            damaged.
        InputError: its data is not what it was begun with.
    """
    with reopen(RunDirectory(path), on_notice) as training:
        result = summarise(training)
        save_model(result.model, output, training.settings, training.data)
    return replace(result, path=output)


def compact_file(
    path: Path, output: Path, *, time: TimeSource = "measured", watch: Watch = silent
) -> tuple[NetworkSize, NetworkSize]:
    """Compact a model that `fssl.save` wrote with its spec, and save the result.

    Arguments:
        path: the model's file; it is left as it is.
        output: the file to write.
        time: where the times come from that decide between dense and CSR.
        watch: shows the progress of measuring.

    Returns:
        The sizes of the network before and after.

    Raises:
        FileError: the file is missing, damaged, no model, or does not say how to build it.
    """
    model, spec = fssl.load(path), fssl.load_spec(path)
    assert spec is not None
    images = torch.rand(BATCH, spec["in_channels"], spec["size"], spec["size"])
    groups = fssl.find_groups(model, images[:1])
    times = make_time_model(groups, time, watch)
    small = fssl.compact(model, groups, time=times).eval()
    fssl.save(small, output, spec=spec, metadata=fssl.load_metadata(path))
    before, after = _sizes(
        {
            "before": _Candidate(model, footprint_of(groups, times)),
            "compact": _Candidate(small, compact_footprint(small, times)),
        },
        images,
        groups.weights(),
    )
    return before, after


class _Candidate(NamedTuple):
    """A network to compare; its error on the test images is None where it was not trained."""

    model: nn.Module
    footprint: Footprint
    error: float | None = None


def _sizes(networks: Mapping[str, _Candidate], images: Tensor, weights: int) -> list[NetworkSize]:
    """Count networks, and time them interleaved.

    Arguments:
        images: of a timing.
        weights: of the network that all of them came from.
    """
    seconds = time_models({name: each.model for name, each in networks.items()}, images)
    rows = []
    for name, (model, footprint, error) in networks.items():
        size = size_of(model, images[:1])
        rows.append(
            NetworkSize(
                name=name,
                error=error,
                zeros=1.0 - footprint.nonzeros / weights,
                weights=size.weights,
                bytes=size.parameter_bytes,
                multiply_adds=size.multiply_adds,
                units=footprint.units,
                predicted_seconds=footprint.seconds,
                measured_seconds=seconds[name],
            )
        )
    return rows


def _dense_error(history: list[EpochMetrics]) -> float | None:
    """Of the last dense epoch; methods that start sparse have none."""
    dense = [metrics for metrics in history if metrics.phase == "dense"]
    return 1.0 - dense[-1].test_accuracy if dense else None


def _reached(context: TrainingContext, left: Footprint) -> float | None:
    """The value of the target's measure."""
    target = context.settings.target
    if target is None:
        return None
    return {
        "time": left.seconds / context.seconds,
        "zeros": 1.0 - left.nonzeros / context.weights,
        "units": sum(left.units) / sum(context.start.full_widths),
    }[target.measure]
