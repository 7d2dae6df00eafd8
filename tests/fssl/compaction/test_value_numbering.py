"""What is known of a layer's inputs: only what holds for every sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import avg_pool2d

from espalier.fssl.compaction.value_numbering import ValueNumbering

Function = Callable[["Between", Tensor], Tensor]


def opaque(m: Between, x: Tensor) -> Tensor:
    """Something that no tool can look into."""
    return torch.from_numpy(2 * x.numpy())


class Between(nn.Module):
    """Linear, a function, linear. Of the four units the second is 1, the third equals the first."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], first: nn.Linear | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 4) if first is None else first
        with torch.no_grad():
            self.first.weight[1], self.first.bias[1] = 0.0, 1.0
            self.first.weight[2], self.first.bias[2] = self.first.weight[0], self.first.bias[0]
        self.function = function
        self.by_unit = nn.Parameter(torch.arange(4.0))
        self.by_one = nn.Parameter(torch.ones(1))
        self.register_buffer("grid", torch.zeros(4, 4))
        with torch.no_grad():
            width = function(self, torch.zeros(2, 4)).shape[-1]
        self.second = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.function(self, self.first(x)))


def read(model: nn.Module, x: Tensor | None = None) -> tuple[list[int], list[float]]:
    numbering = ValueNumbering(model.eval())
    numbering.trace(model, (torch.rand(4, 3) if x is None else x,))
    (expansion,) = numbering.readings["second"]
    return expansion.unit.tolist(), expansion.constant.tolist()


KNOWN: list[tuple[str, Function, list[int], float]] = [
    ("nothing", lambda m, x: x, [0, -1, 0, 3], 1.0),
    ("relu", lambda m, x: torch.relu(x), [0, -1, 0, 3], 1.0),
    ("in place", lambda m, x: functional.relu(x, inplace=True), [0, -1, 0, 3], 1.0),
    ("dropout", lambda m, x: functional.dropout(x, training=m.training), [0, -1, 0, 3], 1.0),
    ("one number", lambda m, x: 3 * x + m.by_one, [0, -1, 0, 3], 4.0),
    ("by unit", lambda m, x: x + m.by_unit, [0, -1, 2, 3], 2.0),
    ("itself", lambda m, x: x + torch.relu(x), [0, -1, 0, 3], 2.0),
    ("input-free", lambda m, x: x + torch.zeros_like(x), [0, -1, 2, 3], 1.0),
    ("a shape of its own", lambda m, x: x[..., None].flatten(1), [0, 1, 2, 3], 0.0),
    ("average", lambda m, x: (x + 0).view(-1, 4).mean(1, keepdim=True), [0], 0.0),
    ("unknown", lambda m, x: torch.cumsum(x, 1), [0, 1, 2, 3], 0.0),
    ("opaque", opaque, [0, 1, 2, 3], 0.0),
    ("random", lambda m, x: functional.dropout(x, 0.5, training=True), [0, 1, 2, 3], 0.0),
    ("noise", lambda m, x: x + torch.rand_like(x), [0, 1, 2, 3], 0.0),
    ("fresh noise", lambda m, x: x + torch.rand(4), [0, 1, 2, 3], 0.0),
    ("uneven sum", lambda m, x: x + x.flip(1), [0, 1, 2, 3], 0.0),
]


@pytest.mark.parametrize(
    ("function", "units", "value"), [each[1:] for each in KNOWN], ids=[each[0] for each in KNOWN]
)
def test_functions_hand_on_what_they_keep(
    function: Function, units: list[int], value: float
) -> None:
    torch.manual_seed(1)
    unit, constant = read(Between(function))
    assert unit == units
    assert constant == pytest.approx([value if each < 0 else 0.0 for each in units])


def write_into(m: Between, x: Tensor) -> Tensor:
    x[:, 1] = x[:, 0]
    return x


def write_into_a_view(m: Between, x: Tensor) -> Tensor:
    x.view(-1).mul_(torch.rand(x.numel()))
    return x


def write_into_a_buffer(m: Between, x: Tensor) -> Tensor:
    m.grid.zero_()
    m.grid[: len(x)] += x
    return m.grid + 0


def gather(m: Between, x: Tensor) -> Tensor:
    m.grid.copy_(x[:4].sum(0) * torch.ones(4, 1))
    return m.grid


@pytest.mark.parametrize("function", [write_into, write_into_a_view, write_into_a_buffer, gather])
def test_memory_that_is_written_to_is_not_known_any_more(
    function: Function,
) -> None:
    assert read(Between(function))[0] == [0, 1, 2, 3]


def test_layers_that_may_do_more_than_their_weights_say_are_not_trusted() -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + x.sum()

    same = lambda m, x: x  # noqa: E731
    assert read(Between(same, Noisy(3, 4)))[0] == [0, 1, 2, 3]
    hooked = Between(same)
    hooked.first.register_forward_hook(lambda module, args, output: output + args[0].sum())
    assert read(hooked)[0] == [0, 1, 2, 3]


def test_a_weight_used_by_itself_is_shared() -> None:
    model = Between(lambda m, x: x + m.first.weight.sum())
    numbering = ValueNumbering(model.eval())
    numbering.trace(model, (torch.rand(4, 3),))
    assert numbering.shared_weight == {"first"}


def test_constants_are_constant_and_equals_equal_on_other_samples() -> None:
    """The facts of one run, checked on another."""

    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm = nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5)
            self.second = nn.Linear(5 * 9, 2)
            with torch.no_grad():
                self.conv.weight[[1, 3]] = 0.0
                self.conv.weight[4], self.conv.bias[4] = self.conv.weight[0], self.conv.bias[0]

        def features(self, x: Tensor) -> Tensor:
            return avg_pool2d(torch.relu(self.norm(self.conv(x))), 2, padding=1).flatten(1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.features(x))

    model = Images()
    units, values = read(model, torch.rand(2, 1, 4, 4))
    features = model.features(torch.rand(3, 1, 4, 4)).detach().numpy()
    for feature, (unit, value) in enumerate(zip(units, values, strict=True)):
        expected = np.full(3, value, np.float32) if unit < 0 else features[:, unit]
        np.testing.assert_array_equal(features[:, feature], expected)
    assert sum(unit < 0 for unit in units) == 18 and sum(unit < 9 for unit in units[36:]) == 9
