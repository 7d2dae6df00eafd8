"""SparseLinear's operators, compiled programs, optimisers and data-parallel training."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.library import opcheck

from espalier import InputError
from espalier.nn import SparseLinear

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")


def chain() -> nn.Sequential:
    return nn.Sequential(
        SparseLinear(12, 10, density=0.4),
        nn.ReLU(),
        SparseLinear(10, 8, density=0.4),
        nn.LayerNorm(8),
        nn.Linear(8, 3),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_opcheck(dtype, transposed):
    layer = SparseLinear(5, 4, density=0.5, dtype=dtype)
    tensors = layer.row_offsets, layer.column_indices
    x = torch.randn(5, 6, dtype=dtype).t() if transposed else torch.randn(6, 5, dtype=dtype)
    for handle in (layer._cache.handle, 0):
        for bias in (layer.bias, None):
            leaf = x.detach().requires_grad_()
            opcheck(torch.ops.espalier.sparse_linear, (leaf, layer.values, bias, *tensors, handle))
        dy, values = torch.randn(6, 4, dtype=dtype), layer.values.detach()
        for needed in ([True, True, True], [False, True, False], [True, False, False]):
            backward = torch.ops.espalier.sparse_linear_backward
            opcheck(backward, (dy, x, values, *tensors, handle, needed))


def test_operators_check_the_pattern():
    layer = SparseLinear(5, 4, density=0.5)
    with pytest.raises(InputError, match="lies outside"):
        torch.ops.espalier.sparse_linear(
            torch.randn(2, 5), layer.values, None, layer.row_offsets, layer.column_indices + 5, 0
        )
    with pytest.raises(InputError, match="values is"):
        torch.ops.espalier.sparse_linear(
            torch.randn(2, 5),
            layer.values[1:],
            None,
            layer.row_offsets,
            layer.column_indices,
            layer._cache.handle,
        )


def test_gradient_of_an_operators_gradient():
    layer, x = SparseLinear(5, 4, density=0.5), torch.randn(3, 5, requires_grad=True)
    tensors = layer.row_offsets, layer.column_indices
    found = []
    for y in (
        torch.ops.espalier.sparse_linear(
            x, layer.values, layer.bias, *tensors, layer._cache.handle
        ),
        layer(x),
    ):
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.pow(2).sum(), layer.values))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=needs_compiler)])
def test_compiled_training_step(backend):
    torch.compiler.reset()
    model = chain()
    eager = copy.deepcopy(model)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    mask = np.roll(model[0].pattern.toarray(), 1, axis=1)
    for batch in (16, 16, 5) if backend == "aot_eager" else (16, 16):
        x = torch.randn(batch, 12)
        results = []
        for run, owner in ((compiled, model), (eager, eager)):
            y = run(x)
            owner.zero_grad()
            y.square().sum().backward()
            results.append([y.detach(), *(each.grad for each in owner.parameters())])
        torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)
        for each in (model, eager):  # a new pattern needs no new program
            each[0].set_pattern(mask)


@pytest.mark.slow
def test_compiled_programs_of_other_types_are_torchs():
    torch.compiler.reset()
    model, x = chain().double(), torch.randn(3, 4, 12, dtype=torch.float64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.slow
def test_compiled_under_autocast():
    torch.compiler.reset()
    layer, x = SparseLinear(12, 10, density=0.4), torch.randn(4, 12)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(x), layer(x), rtol=0.0, atol=0.0)


@pytest.mark.slow
def test_exported_programs_hold_torchs_operators_only():
    layer, x = SparseLinear(12, 10, density=0.4), torch.randn(4, 12)
    program = torch.export.export(layer, (x,))
    assert "espalier" not in str(program.graph)
    torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-4, atol=1e-5)


OPTIMIZERS = [
    name
    for name, kind in sorted(vars(torch.optim).items())
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "SparseAdam", "LBFGS", "Muon")  # Muon takes matrices only
]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_and_clipping(name):
    model = chain()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.01)
    x, before = torch.randn(16, 12), model[0].values.detach().clone()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        assert norm.isfinite()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert not torch.equal(model[0].values, before)
    for state in optimizer.state[model[0].values].values():
        assert not isinstance(state, torch.Tensor) or state.numel() <= model[0].nonzeros


def test_lbfgs():
    model, x = chain(), torch.randn(16, 12)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    first = optimizer.step(closure).detach()
    assert closure().detach() < first
