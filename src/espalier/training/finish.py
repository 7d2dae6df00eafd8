"""The end of a training: the compact network, saved, and the table of what was gained."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from espalier import fssl
from espalier.training.course import Course
from espalier.training.job import Job
from espalier.training.loop import accuracy
from espalier.training.result import Network, TrainingResult
from espalier.training.size import size_of, time_in_turns
from espalier.training.trainer import Shape


def finish(course: Course, batch: int) -> TrainingResult:
    """Compact what was trained, compare it with the network it began with, and save it.

    Arguments:
        course: all its epochs done.
        batch: images of the timings.
    """
    job, trainer = course.job, course.trainer
    model, dense = trainer.compact().eval(), job.build().eval()
    shape = trainer.shape()
    full = Shape(job.weights, job.start.full_widths, job.seconds)
    seconds = time_in_turns({"dense": dense, "compact": model}, _batch(job, batch))
    result = TrainingResult(
        settings=job.settings,
        model=model,
        dense=_network("dense", job, dense, full, seconds["dense"], _dense_error(course)),
        compact=_network("compact", job, model, shape, seconds["compact"], _error(job, model)),
        reached=_reached(job, shape),
        history=tuple(course.history),
        batch=batch,
    )
    return result if course.folder is None else _saved(result, course)


def _network(
    name: str, job: Job, model: nn.Module, shape: Shape, measured: float, error: float | None
) -> Network:
    size = size_of(model, job.example)
    return Network(
        name=name,
        error=error,
        zeros=1.0 - shape.nonzeros / job.weights,
        weights=size.weights,
        bytes=size.parameter_bytes,
        multiply_adds=size.multiply_adds,
        units=shape.units,
        predicted_seconds=shape.seconds,
        measured_seconds=measured,
    )


def _error(job: Job, model: nn.Module) -> float:
    return 1.0 - accuracy(model, job.data.test)


def _dense_error(course: Course) -> float | None:
    """Of the last dense epoch; methods that start sparse have none."""
    dense = [record for record in course.history if record.phase == "dense"]
    return 1.0 - dense[-1].test_accuracy if dense else None


def _reached(job: Job, shape: Shape) -> float | None:
    target = job.settings.target
    if target is None:
        return None
    return {
        "time": shape.seconds / job.seconds,
        "zeros": 1.0 - shape.nonzeros / job.weights,
        "units": sum(shape.units) / sum(job.start.full_widths),
    }[target.measure]


def _batch(job: Job, size: int) -> Tensor:
    """As many test images as wanted, over and over where there are fewer."""
    images = job.data.test.images
    return images.repeat(-(-size // len(images)), 1, 1, 1)[:size].contiguous()


def _saved(result: TrainingResult, course: Course) -> TrainingResult:
    folder, data = course.folder, course.job.data
    assert folder is not None
    metadata = {"data": {"mean": data.mean, "std": data.std, "side": data.side}}
    fssl.save(result.model, folder.model, spec=result.settings.model, metadata=metadata)
    result = replace(result, path=folder.model)
    folder.save_result(result.to_json())
    return result
