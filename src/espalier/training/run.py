"""The whole way: data, network, method, epochs with a checkpoint each, compact network, table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from espalier.errors import InputError
from espalier.files.atomic import replacing_file
from espalier.fssl import Groups, TimeModel, find_groups
from espalier.nn.networks import image_side
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch, silent
from espalier.training.compaction import summarise
from espalier.training.context import TrainingContext, build_start
from espalier.training.data import Data, load_for
from espalier.training.footprint import make_time_model
from espalier.training.method_training import EpochMetrics, MethodTraining
from espalier.training.methods import check_target, phases_of
from espalier.training.phases import check_steps
from espalier.training.result import TrainingResult
from espalier.training.run_directory import RunDirectory, save_model
from espalier.training.settings import Settings


def train(
    settings: Settings,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    watch: Watch = silent,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    on_notice: Callable[[str], None] = warnings.warn,
) -> TrainingResult:
    """Train a network, make it sparse, compact it and measure what was gained.

    Arguments:
        settings: what to train on what, and how.
        output: directory for checkpoints, metrics and the model; None to write nothing.
        resume: go on from the newest whole checkpoint in ``output``. The result is the same, bit
            for bit, as had the training never been stopped.
        watch: opens a progress bar: called as ``watch(task, unit)`` for every epoch and for the
            measuring of times, it gives a context with a ``progress(done, total)`` callback.
        on_epoch: called with the metrics of each epoch.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Returns:
        The compact network and the final table; ``target_met`` says whether it is small enough.

    Raises:
        InputError: settings that do not fit together, the data, or those of the directory.
        FileError: damaged or missing data, or a directory that cannot be read or written, or that
            another training uses.
        TrainingError: the loss is no finite number; the last good checkpoint stays.

    >>> result = train(Settings(model="mlp:16", method="dense", epochs=6, time="macs", threads=1))
    >>> result.history[-1].test_accuracy > 0.5, result.verdict()
    (True, 'no target')
    """
    if resume and output is None:
        raise InputError("resume wants the output folder of the training")
    image_side(settings.model, 1)  # refuses an unknown model before any data is read
    phases = phases_of(settings)
    with torch_threads(settings.threads) as threads:
        settings = settings.with_threads(threads)
        directory = None if output is None else RunDirectory(Path(output))
        data = load_for(settings)
        check_steps(phases, len(data.train) // settings.batch)
        start = find_groups(build_start(settings, data), data.train.images[:1])
        check_target(settings, start)
        # The directory is for this training alone before the first measurement.
        with nullcontext() if directory is None else directory.held(resume=resume):
            times = _times(settings, data.fingerprint, start, directory, resume, watch)
            training = MethodTraining(TrainingContext(settings, data, times), phases, directory)
            if resume:
                training.resume(on_notice)
            training.run(watch, on_epoch)
            result = summarise(training)
            return result if directory is None else _save(result, directory, data)


def _times(
    settings: Settings,
    fingerprint: str,
    start: Groups,
    directory: RunDirectory | None,
    resume: bool,
    watch: Watch,
) -> TimeModel:
    """Times of this machine, and the directory that remembers them."""
    if directory is not None and resume:
        directory.check_same(settings, fingerprint)
        return directory.times()
    times = make_time_model(start, settings.time, watch)
    if directory is not None:
        directory.create(settings, fingerprint, times.to_json())
    return times


def _save(result: TrainingResult, directory: RunDirectory, data: Data) -> TrainingResult:
    """Write ``model.safetensors`` and ``result.json``; returns the result with its path."""
    save_model(result.model, directory.model, result.settings, data)
    result = replace(result, path=directory.model)
    with replacing_file(directory.path / "result.json") as file:
        file.write((json.dumps(result.to_json(), indent=2) + "\n").encode())
    return result
