"""The whole way: data, network, method, epochs with a checkpoint each, compact network, table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

from espalier.errors import FileError, InputError
from espalier.fssl import Groups, TimeModel, find_groups
from espalier.nn.networks import image_side
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch, silent
from espalier.training.context import Job, build_start
from espalier.training.data import Data, check_batch, load
from espalier.training.epochs import Course
from espalier.training.methods import check_target, stretches
from espalier.training.metrics import Record
from espalier.training.phases import check_steps
from espalier.training.result import TrainingResult
from espalier.training.run_directory import Folder
from espalier.training.settings import Settings, TimeSource
from espalier.training.summary import finish

BATCH = 256  # images of a predicted and a measured time


def train(
    settings: Settings,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    watch: Watch = silent,
    on_epoch: Callable[[Record], None] | None = None,
    on_notice: Callable[[str], None] = warnings.warn,
) -> TrainingResult:
    """Train a network, make it sparse, compact it and measure what was gained.

    Arguments:
        settings: what to train on what, and how.
        output: folder for checkpoints, metrics and the model; None to write nothing.
        resume: go on from the newest whole checkpoint in ``output``. The result is the same, bit
            for bit, as had the training never been stopped.
        watch: opens a progress bar: called as ``watch(task, unit)`` for every epoch and for the
            measuring of times, it gives a context with a ``progress(done, total)`` callback.
        on_epoch: called with the record of each epoch.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Returns:
        The compact network and the final table; ``target_met`` says whether it is small enough.

    Raises:
        InputError: settings that do not fit together, the data, or those of the folder.
        FileError: damaged or missing data, or a folder that cannot be read or written, or that
            another training uses.
        TrainingError: the loss is no finite number; the folder keeps the last good checkpoint.

    >>> result = train(Settings(model="mlp:16", method="dense", epochs=6, time="macs", threads=1))
    >>> result.history[-1].test_accuracy > 0.5, result.verdict()
    (True, 'no target')
    """
    if resume and output is None:
        raise InputError("resume wants the output folder of the training")
    image_side(settings.model, 1)  # refuses an unknown model before any data is read
    plan = stretches(settings)
    with torch_threads(settings.threads) as threads:
        settings = settings.with_threads(threads)
        folder = None if output is None else Folder(Path(output))
        data = _load(settings)
        check_steps(plan, len(data.train) // settings.batch)
        start = find_groups(build_start(settings, data), data.train.images[:1])
        check_target(settings, start)
        with _held(folder, resume):
            times = _times(settings, data, start, folder, resume, watch)
            course = Course(Job(settings, data, times), plan, folder)
            if resume:
                course.resume(on_notice)
            course.run(watch, on_epoch)
            result = finish(course, BATCH)
            return result if folder is None else folder.save_result(result, data)


@contextmanager
def reopen(folder: Folder, on_notice: Callable[[str], None]) -> Iterator[Course]:
    """A training as its newest whole checkpoint left it, for the block.

    Raises:
        FileError: there is none.
    """
    settings = folder.settings()
    with torch_threads(settings.threads):
        data = _load(settings)
        folder.check_same(settings, data.fingerprint)
        course = Course(Job(settings, data, _begun_with(folder)), stretches(settings), folder)
        if not course.load_newest(on_notice, otherwise="none is whole"):
            raise FileError(
                f"{folder.path} has no whole checkpoint yet; train on: espalier train --resume "
                f"--output {folder.path}"
            )
        yield course


def _load(settings: Settings) -> Data:
    data = load(settings.data, seed=settings.seed)
    check_batch(data, settings.batch)
    data = data.resized(image_side(settings.model, data.side))
    if settings.shift >= data.side:
        raise InputError(
            f"shift is {settings.shift}, which moves images of {data.side} pixels a side out of "
            f"sight; wanted 0 to {data.side - 1}"
        )
    return data


def _held(folder: Folder | None, resume: bool) -> AbstractContextManager[None]:
    """The folder for this training alone, before the first measurement; made for a new one."""
    if folder is None:
        return nullcontext()
    if resume:
        folder.run()
    else:
        folder.make()
    return folder.locked()


def _times(
    settings: Settings,
    data: Data,
    start: Groups,
    folder: Folder | None,
    resume: bool,
    watch: Watch,
) -> TimeModel:
    """Times of this machine, and the folder that remembers them."""
    if folder is None:
        return times_of(start, settings.time, watch)
    if resume:
        folder.check_same(settings, data.fingerprint)
        return _begun_with(folder)
    folder.check_free()
    times = times_of(start, settings.time, watch)
    folder.create(settings, data.fingerprint, times.to_json())
    return times


def times_of(groups: Groups, source: TimeSource, watch: Watch = silent) -> TimeModel:
    """Times of a network on this machine and PyTorch's threads, or multiply-adds for them."""
    if source == "macs":
        return TimeModel.from_macs(groups, BATCH)
    with watch("timing layers", "timings") as progress:
        return TimeModel.measure(groups, BATCH, threads=torch.get_num_threads(), progress=progress)


def _begun_with(folder: Folder) -> TimeModel:
    """The times that a training was begun with: others would shape it otherwise."""
    return TimeModel.from_json(json.dumps(folder.run()["time"]), elsewhere=True)
