"""The end of a training: the compact network, and the table of what was gained."""

from __future__ import annotations

from torch import Tensor, nn

from espalier.training.course import Course
from espalier.training.job import Job
from espalier.training.loop import accuracy
from espalier.training.result import Network, TrainingResult
from espalier.training.size import size_of, time_in_turns
from espalier.training.trainer import Shape, compact_shape


def finish(course: Course, batch: int) -> TrainingResult:
    """Compact what was trained and compare it with the network it began with.

    Arguments:
        course: as far as it went.
        batch: images of the timings.
    """
    job = course.job
    model, dense = course.trainer.compact().eval(), job.build().eval()
    full, shape = Shape(job.weights, job.start.full_widths, job.seconds), compact_shape(job, model)
    seconds = time_in_turns({"dense": dense, "compact": model}, _batch(job, batch))
    return TrainingResult(
        settings=job.settings,
        model=model,
        dense=_network("dense", job, dense, full, seconds["dense"], _dense_error(course)),
        compact=_network("compact", job, model, shape, seconds["compact"], _error(job, model)),
        reached=_reached(job, shape),
        history=tuple(course.history),
        batch=batch,
    )


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
