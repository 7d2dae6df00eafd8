"""One epoch of training, and the test after it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from espalier.errors import TrainingError
from espalier.progress import Progress
from espalier.training.data import Split
from espalier.training.phase_trainer import Trainer

TEST_BATCH = 1024


class Epoch(NamedTuple):
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
) -> Epoch:
    """Train on every image once.

    Arguments:
        trainer: changed in place.
        split: the training set.
        batch: images of a step.
        seed, epoch: decide the order of images, their noise and dropout; nothing else does.
        progress: called with (done, total) after every step.

    Raises:
        TrainingError: the loss or a parameter is no finite number; says where.
    """
    steps = len(split) // batch
    losses: list[float] = []
    hits = torch.zeros((), dtype=torch.int64)
    trainer.model.train()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(dropout_seed(seed, epoch))
        for images, labels in split.batches(batch, seed=seed, epoch=epoch):
            trainer.optimizer.zero_grad()
            images = trainer.disturb(images)
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
            if progress is not None:
                progress(len(losses), steps)
    _check_parameters(trainer.model, epoch)
    return Epoch(math.fsum(losses) / steps, hits.item() / (steps * batch))


@torch.inference_mode()
def accuracy(model: nn.Module, split: Split) -> float:
    """The part of images that the model gets right."""
    was_training = model.training
    model.eval()
    hits = sum(
        int((model(images).argmax(1) == labels).sum())
        for images, labels in zip(
            split.images.split(TEST_BATCH), split.labels.split(TEST_BATCH), strict=True
        )
    )
    model.train(was_training)
    return hits / len(split)


def dropout_seed(seed: int, epoch: int) -> int:
    """What an epoch's noise and dropout start from."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def _check_parameters(model: nn.Module, epoch: int) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise TrainingError(f"{name} holds numbers that are not finite after epoch {epoch + 1}")
