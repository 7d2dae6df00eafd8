"""The end of a training: the compact network, and the table of what was gained."""

from __future__ import annotations

from torch import Tensor, nn

from espalier.training.context import Job
from espalier.training.epochs import Course
from espalier.training.footprint import Shape, compact_shape
from espalier.training.loop import accuracy
from espalier.training.result import Network, TrainingResult, network
from espalier.training.size import time_models


def finish(course: Course, batch: int) -> TrainingResult:
    """Compact what was trained and compare it with the network it began with.

    Arguments:
        course: as far as it went.
        batch: images of the timings.
    """
    job = course.job
    dense, model = job.build().eval(), course.trainer.compact().eval()
    full, shape = (
        Shape(job.weights, job.start.full_widths, job.seconds),
        compact_shape(model, job.time),
    )
    seconds = time_models({"dense": dense, "compact": model}, _batch(job, batch))

    def row(name: str, module: nn.Module, shape: Shape, error: float | None) -> Network:
        return network(
            name,
            module,
            job.example,
            shape,
            weights=job.weights,
            seconds=seconds[name],
            error=error,
        )

    return TrainingResult(
        settings=job.settings,
        model=model,
        dense=row("dense", dense, full, _dense_error(course)),
        compact=row("compact", model, shape, 1.0 - accuracy(model, job.data.test)),
        reached=_reached(job, shape),
        history=tuple(course.history),
        batch=batch,
    )


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
