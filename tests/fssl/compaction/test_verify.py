"""The check that stands between a compact model and its user."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from espalier import NetworkError
from espalier.errors import InputError
from espalier.fssl.compaction.verify import check_equal, draw_probe
from espalier.fssl.groups.modules import evaluating


class Gives(nn.Module):
    """A model of one answer."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


SCORES = torch.tensor([[1.0, 3.0], [4.0, 2.0]])
SAMPLES = (torch.zeros(2, 1),)


def compare(before: Any, after: Any, rtol: float = 1e-3) -> float:
    return check_equal(Gives(before), Gives(after), SAMPLES, rtol)


def test_the_gap_is_the_largest_difference_of_all_outputs() -> None:
    near = SCORES + torch.tensor([[0.0, 1e-3], [0.0, 0.0]])
    assert compare(SCORES, SCORES) == 0.0
    assert compare({"a": SCORES, "b": (SCORES,)}, {"a": SCORES, "b": (near,)}) == pytest.approx(
        1e-3, rel=1e-3
    )


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (SCORES + 0.1, r"differs by 0\.1 on 2 samples, allowed 0\.004"),
        (SCORES[:, :1], r"gives \[2, 1\] where the model gives \[2, 2\]"),
        (SCORES * float("nan"), "differs by nan"),
        (RuntimeError("shapes"), "does not run, so it is not given out: shapes"),
    ],
)
def test_another_answer_is_refused(after: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        compare(SCORES, after)


def test_another_class_is_refused_where_the_best_two_are_apart() -> None:
    before = torch.tensor([[10.0, 10.0125, 0.0]])
    after = torch.tensor([[10.009, 10.004, 0.0]])
    with pytest.raises(NetworkError, match="another class for 1 of 1"):
        compare(before, after)
    assert compare(torch.tensor([[10.0, 10.001]]), torch.tensor([[10.001, 10.0]])) > 0


@pytest.mark.parametrize("before", [SCORES * float("inf"), None, RuntimeError("shapes")])
def test_a_model_that_cannot_be_compared_is_refused(before: Any) -> None:
    with pytest.raises(InputError, match="on the probe"):
        compare(before, SCORES)


def test_the_probe_is_the_example_and_the_same_noise_each_time() -> None:
    example = 3.0 + 2.0 * torch.rand(8, 5)
    (probe,), (again,) = draw_probe((example,)), draw_probe((example,))
    assert torch.equal(probe, again) and torch.equal(probe[:8], example)
    assert abs(float(probe[8:].mean() - example.mean())) < 0.2
    words = (torch.zeros(2, 3, dtype=torch.long),)
    assert draw_probe(words) is words
    uneven = (torch.rand(2, 3), torch.rand(4))
    assert draw_probe(uneven) is uneven


def test_modes_return_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    model[1].eval()
    with pytest.raises(KeyError), evaluating(model):
        assert not model.training
        raise KeyError
    assert model.training and model[0].training and not model[1].training
