"""Whole trainings: as PyTorch's, step by step, and the same bits when run again."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import espalier as esp
from tests.support.layers import forced, small_vgg

STEPS = 200


def digits():
    """Images with a blob whose place is the label: learnable, and mostly zeros."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(0, 10, (STEPS, 16), generator=generator)
    images = torch.zeros(STEPS, 16, 1, 12, 12)
    for step in range(STEPS):
        for index, label in enumerate(labels[step].tolist()):
            row, column = divmod(label, 4)
            images[step, index, 0, 4 * row : 4 * row + 3, 3 * column : 3 * column + 3] = 1.0
    images += 0.3 * torch.rand(images.shape, generator=generator)
    return images, labels


def train(prepare, batch_norm):
    torch.manual_seed(3)
    model = prepare(small_vgg(batch_norm))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for images, labels in zip(*digits(), strict=True):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [False, True])
def test_losses_are_those_of_dense_training(batch_norm):
    _, dense = train(lambda model: model, batch_norm)
    _, ours = train(forced, batch_norm)
    assert ours == pytest.approx(dense, rel=1e-3, abs=1e-5)
    assert dense[-1] < 0.2 * dense[0]


@pytest.mark.slow
def test_two_accelerated_trainings_have_equal_bits():
    example = digits()[0][0]

    def prepare(model):
        return esp.accelerate(model, example)

    first, losses = train(prepare, batch_norm=True)
    second, again = train(prepare, batch_norm=True)
    assert losses == again
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert esp.model_report(first) == esp.model_report(second)
