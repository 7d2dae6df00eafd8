"""What lies between the layers is timed in the model itself, which stays as it was."""

from __future__ import annotations

import torch
from torch import nn

from espalier.fssl.latency.overhead import measure_overhead
from tests.support.times import convnet, groups_of, mlp


class Slow(nn.Module):
    """Takes pretended time for each sample and unit, and some for each call."""

    def __init__(self, clock, call, unit):
        super().__init__()
        self.clock, self.call, self.unit = clock, call, unit

    def forward(self, x):
        self.clock[0] += self.call + self.unit * x.numel()
        return x


def test_overhead_is_what_the_modules_between_take():
    clock = [0.0]
    model = nn.Sequential(
        Slow(clock, 2.0, 0.0),
        nn.Linear(6, 4),
        Slow(clock, 1.0, 0.25),
        nn.Linear(4, 3),
        Slow(clock, 0.0, 1.0),
    )
    overhead = measure_overhead(model, groups_of(model, 6).layers, 10, clock=lambda: clock[0])
    assert overhead.before == 2.0
    assert [tuple(gap) for gap in overhead.behind] == [(1.0, 10.0), (0.0, 30.0)]
    assert overhead.whole == 2.0 + 1.0 + 10.0 + 30.0
    assert overhead.seconds(0, 0.5) == 6.0
    assert overhead.steady


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(
        nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)
    )
    groups = groups_of(model, 6)
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    assert measure_overhead(model, groups.layers, 4) is not None
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)


def test_a_model_that_needs_other_inputs_has_no_overhead_without_them():
    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = mlp(64)

        def forward(self, images):
            assert images.dim() == 4
            return self.inside(images.reshape(len(images), 64))

    class Picky(Images):
        def forward(self, images):
            if images.dim() != 4:
                raise ValueError("images wanted")
            return super().forward(images)

    model = Picky()
    groups = groups_of(model, 1, 8, 8)
    assert measure_overhead(model, groups.layers, 4) is None
    assert measure_overhead(model, groups.layers, 4, torch.rand(3, 1, 8, 8)) is not None


def test_images_are_made_up_for_a_convolution():
    model = convnet()
    overhead = measure_overhead(model, groups_of(model, 1, 8, 8).layers, 4)
    assert len(overhead.behind) == 3
    assert overhead.whole > 0
