"""What an optimiser remembers survives the way through JSON and tensors."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError
from espalier.training.checkpoint import pack, unpack

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
)
KEYS = st.text(max_size=4) | st.integers(0, 5)
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=10,
)


@given(STATES)
def test_plain_values_come_back_with_their_types(state: object) -> None:
    tree, tensors = pack(state)
    assert not tensors
    back = unpack(json.loads(json.dumps(tree)), tensors)
    assert back == state and repr(back) == repr(state)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "RAdam"])
def test_optimisers_go_on_bit_for_bit(name: str) -> None:
    def begin() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        arguments = {"momentum": 0.9} if name == "SGD" else {}
        return model, getattr(torch.optim, name)(model.parameters(), lr=0.01, **arguments)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = begin()
    step(model, optimizer)
    tree, tensors = pack({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    again, other = begin()
    state = unpack(json.loads(json.dumps(tree)), tensors)
    again.load_state_dict(state["model"])
    other.load_state_dict(state["optimizer"])
    for _ in range(3):
        step(model, optimizer)
        step(again, other)
    assert torch.equal(model.weight, again.weight)


def test_other_things_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="state/a/0 is a set"):
        pack({"a": [{1, 2}]})


def test_tensors_are_copies() -> None:
    tensor = torch.zeros(2)
    _, tensors = pack([tensor])
    tensor += 1
    assert not next(iter(tensors.values())).any()
