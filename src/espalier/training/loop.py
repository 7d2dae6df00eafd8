"""One epoch of training, step by step, and the test after it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from espalier.errors import TrainingError
from espalier.fssl.groups.modules import evaluating
from espalier.progress import Progress
from espalier.training.data import Split
from espalier.training.learning_rate import Schedule, cosine, make_optimizer, recipe
from espalier.training.settings import Settings

TEST_BATCH = 1024


class Trainer:
    """A network in training: its optimiser, its schedule, its loss.

    What does more than follow the gradient extends `update` or `loss`.

    Arguments:
        settings: of the training.
        model: changed in place.
        steps: of the schedule.
        schedule: of the learning rate.
        lr: its peak; by default the settings'.

    Attributes:
        lr: learning rate of the latest step.
    """

    def __init__(
        self,
        settings: Settings,
        model: nn.Module,
        steps: int,
        *,
        schedule: Schedule = cosine,
        lr: float | None = None,
    ) -> None:
        self.settings, self.model = settings, model
        self.optimizer: torch.optim.Optimizer = make_optimizer(model, settings)
        self._steps, self._done = steps, 0
        self._schedule = schedule
        self._peak = recipe(settings).lr if lr is None else lr
        self.lr = self._peak

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A batch as this step sees it: images shifted, some of their pixels dropped."""
        images = shift_images(images, self.settings.shift)
        return drop_pixels(images, recipe(self.settings).input_dropout), labels

    def loss(self, scores: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The loss that is minimised: cross-entropy."""
        return cross_entropy(scores, labels)

    def update(self) -> None:
        """One step along the gradients."""
        self.lr = self._peak * self._schedule(self._done / self._steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.step()
        self._done += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self._done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._done = state["done"]


class Means(NamedTuple):
    """Means over the images of an epoch, each seen before the step it was part of."""

    loss: float
    accuracy: float


def train_epoch(
    trainer: Trainer,
    split: Split,
    *,
    batch: int,
    seed: int,
    epoch: int,
    progress: Progress | None = None,
) -> Means:
    """Train on every image once.

    Arguments:
        trainer: changed in place.
        split: the training set.
        batch: images of a step.
        seed, epoch: decide the order of images, their augmentation and dropout; nothing else does.
        progress: called with (done, total) after every step.

    Raises:
        TrainingError: the loss or a parameter is no finite number; says where.
    """
    steps, seen = len(split) // batch, 0
    losses: list[float] = []
    hits = torch.zeros((), dtype=torch.int64)
    trainer.model.train()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(_epoch_seed(seed, epoch))
        for batch_images, batch_labels in split.batches(batch, seed=seed, epoch=epoch):
            trainer.optimizer.zero_grad()
            images, labels = trainer.prepare(batch_images, batch_labels)
            scores = trainer.model(images)
            loss = trainer.loss(scores, images, labels)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss is {losses[-1]} in epoch {epoch + 1}, step {len(losses)} of "
                    f"{steps}, at learning rate {trainer.lr:g}"
                )
            loss.backward()
            trainer.update()
            hits += (scores.detach().argmax(1) == labels).sum()
            seen += len(labels)
            if progress is not None:
                progress(len(losses), steps)
    _check_parameters(trainer.model, epoch)
    return Means(math.fsum(losses) / steps, hits.item() / seen)


def accuracy(model: nn.Module, split: Split) -> float:
    """The part of images that the model gets right."""
    return count_hits(model, split) / len(split)


@torch.inference_mode()
def count_hits(model: nn.Module, split: Split) -> int:
    """The images that the model gets right."""
    batches = zip(split.images.split(TEST_BATCH), split.labels.split(TEST_BATCH), strict=True)
    with evaluating(model):
        return sum(
            int((model(images).argmax(1) == labels).sum())
            for images, labels in batches
            if len(labels)
        )


def drop_pixels(images: Tensor, part: float) -> Tensor:
    """Set this part of the pixels to 0, at random, and scale the others so that the mean stays.

    Source: Srivastava et al., "Dropout", JMLR 2014, there for inputs and hidden units.
    """
    return torch.nn.functional.dropout(images, part) if part else images


def shift_images(images: Tensor, most: int) -> Tensor:
    """Move each image by up to `most` pixels along each axis, at random; zeros move in.

    Arguments:
        images: ``[images, channels, height, width]``.

    >>> image = torch.ones(1, 1, 4, 4)
    >>> shift_images(image, 0) is image, float(shift_images(image, 1).sum()) <= 16.0
    (True, True)
    """
    if not most:
        return images
    count, channels, height, width = images.shape
    padded = pad(images, (most, most, most, most))
    wide = width + 2 * most
    by = torch.randint(0, 2 * most + 1, (2, count, 1))
    rows = (by[0] + torch.arange(height))[:, :, None] * wide
    pixels = (rows + (by[1] + torch.arange(width))[:, None, :]).view(count, 1, -1)
    moved = padded.flatten(2).gather(2, pixels.expand(-1, channels, -1))
    return moved.view(images.shape)


def _epoch_seed(seed: int, epoch: int) -> int:
    """The seed of an epoch's augmentation and dropout."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def _check_parameters(model: nn.Module, epoch: int) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise TrainingError(f"{name} holds numbers that are not finite after epoch {epoch + 1}")
