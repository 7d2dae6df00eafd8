"""PyTorch's private parts are there and do what we need: run it with the oldest and newest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from espalier.nn import torch_tools
from espalier.nn.torch_tools import (
    UNKNOWN,
    base_of,
    has_hooks,
    has_saved_tensor_hooks,
    is_supported,
    is_view,
    may_compile,
    saved_input,
    version_of,
    will_execute,
    with_shape,
)


def test_ordinary_tensors_of_one_type_are_supported():
    x, weight = torch.zeros(2, 3), nn.Parameter(torch.zeros(3))
    assert is_supported(x) and is_supported(x, weight, None)
    assert not is_supported(x.double()) and not is_supported(x, weight.double())
    assert not is_supported(x.to("meta")) and not is_supported(x.to_sparse())
    assert not is_supported(x.as_subclass(type("Mine", (torch.Tensor,), {})))
    assert not is_supported(torch.zeros(2, dtype=torch.complex64).conj().imag)  # negated lazily
    half = torch.bfloat16
    assert is_supported(x.to(half), weight.to(half), dtypes=(torch.float32, half))
    assert not is_supported(x, weight.to(half), dtypes=(torch.float32, half))
    assert not is_supported(x, on_gpu=True)


def test_whoever_records_or_transforms_gets_pytorchs_operators():
    x, seen = torch.zeros(2, 3), []

    def record(tensor):
        seen.append(is_supported(tensor))
        return tensor.sum()

    torch.vmap(record)(x)
    torch.func.grad(record)(x)
    with torch.autocast("cpu", torch.bfloat16):
        record(x)
    with FlopCounterMode(display=False):
        record(x)
    with forward_ad.dual_level():
        record(x)
    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.trace(record, x, check_trace=False)
    y = x.requires_grad_().exp()
    y.register_hook(lambda dy: seen.append(is_supported(dy)))
    torch.autograd.grad(y, x, torch.ones(4, 2, 3), is_grads_batched=True)
    assert seen == [False] * 7
    record(x)
    assert seen[-1]


def test_other_modes_change_nothing():
    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        assert is_supported(torch.zeros(2))


def test_what_a_compiled_program_may_call():
    assert may_compile(torch.zeros(2), None)
    assert not may_compile(torch.zeros(2), torch.zeros(2).double())
    assert not may_compile(torch.zeros(2, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not may_compile(torch.zeros(2))


def test_versions_rise_with_operations_in_place():
    x = torch.zeros(2)
    before = version_of(x)
    x.add_(1.0)
    assert version_of(x) > before > UNKNOWN
    with torch.inference_mode():
        assert version_of(torch.zeros(2)) == UNKNOWN


def test_views_and_their_bases():
    x = torch.zeros(2, 3, requires_grad=True).exp()
    view = x.view(6)
    assert is_view(view) and base_of(view) is x
    assert not is_view(x) and base_of(x) is None
    whole = with_shape(x, (3, 2))
    assert whole.shape == (3, 2) and not is_view(whole)
    torch.relu_(whole).sum().backward()


def test_hooks_on_tensors_are_seen():
    made = [torch.zeros(2, requires_grad=True).exp() for _ in range(3)]
    made[1].register_hook(lambda gradient: None)
    made[2].retain_grad()
    assert [has_hooks(each) for each in made] == [False, True, True]


def test_hooks_on_saved_tensors_are_seen():
    assert not has_saved_tensor_hooks()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        assert has_saved_tensor_hooks()
    assert not has_saved_tensor_hooks()


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        (nn.MaxPool2d(2), "MaxPool2DWithIndicesBackward0"),
        (nn.AdaptiveMaxPool2d(2), "AdaptiveMaxPool2DBackward0"),
    ],
)
def test_the_saved_input_is_the_object_itself(pool, name):
    x = torch.randn(1, 1, 4, 4, requires_grad=True).relu()
    y = pool(x)
    assert type(y.grad_fn).__name__ == name
    assert saved_input(y.grad_fn) is x
    y.sum().backward()
    assert saved_input(y.grad_fn) is None
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        y = pool(torch.randn(1, 1, 4, 4, requires_grad=True).relu())
    assert saved_input(y.grad_fn) is None


class Asks(torch.autograd.Function):
    """The identity of two leaves; its backward pass asks which of them will get a gradient."""

    answers: tuple[list[bool], list[bool]]

    @staticmethod
    def forward(ctx, x, y):
        return x + y

    @staticmethod
    def backward(ctx, dz):
        leaves = [node for node, _ in ctx.next_functions]
        Asks.answers = (
            [will_execute(each, if_captured=True) for each in leaves],
            [will_execute(each, if_captured=False) for each in leaves],
        )
        return dz, dz


def test_the_engine_tells_what_it_will_execute():
    x, y = (torch.zeros(2, requires_grad=True) for _ in range(2))
    assert type(Asks.apply(x, y).grad_fn.next_functions[0][0]).__name__ == "AccumulateGrad"
    Asks.apply(x, y).sum().backward()
    assert Asks.answers == ([True, True], [True, True])
    torch.autograd.grad(Asks.apply(x, y).sum(), x)
    assert Asks.answers == ([True, False], [False, False])


def test_every_private_part_is_asked_for_in_one_file():
    private = (
        *("torch._", "torch.ops.aten._", "forward_ad._", "._is_view", "._base ", "._saved_self"),
        *("tensor._version", "._backward_hooks", "._raw_saved", "._will_engine"),
    )
    package = Path(torch_tools.__file__).parents[1]
    asking = {
        file.name
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if any(part in line.replace("torch.__version__", "") for part in private)
        and "self._base" not in line
    }
    assert asking == {"torch_tools.py"}
