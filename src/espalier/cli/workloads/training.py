"""A training step: layers that skip zeros and sparse layers, beside PyTorch's dense ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from espalier.cli.workloads.inference import torch_csr
from espalier.cli.workloads.workload import PAYS, Work, Workload
from espalier.nn import SparseLinear, accelerate
from espalier.nn.networks import vgg_small
from espalier.nn.networks.resnet import BasicBlock
from espalier.training import load_data

if TYPE_CHECKING:
    from torch import Tensor, nn

DENSE, BF16 = "PyTorch", "bf16 autocast"
BF16_ROUNDING = 0.2  # of its 8 bits, added up over the layers of a step
TRAINED_STEPS = 20  # after which the zeros are those of a training
LR, MOMENTUM = 0.01, 0.9
SIDE = 28

Loss = Callable[["nn.Module", "Tensor"], "Tensor"]


def small_vgg(width: int, batch: int) -> Workload:
    """Six convolutions on digits, each with a ReLU behind it: zeros in all three passes."""
    import torch
    from torch.nn.functional import cross_entropy, interpolate

    torch.manual_seed(0)
    digits = load_data("digits", seed=0).train
    images = interpolate(digits.images[:batch], size=(SIDE, SIDE), mode="bilinear")
    labels = digits.labels[:batch]
    model = vgg_small(width=width)
    return _convolutions(model, images, lambda model, x: cross_entropy(model(x), labels))


def resnet_block(width: int, batch: int) -> Workload:
    """Batch norm stands between convolution and ReLU: gradients there have no zeros."""
    import torch

    torch.manual_seed(0)
    images = torch.randn(batch, width, SIDE, SIDE).relu()
    wanted = torch.randn(batch, width, SIDE, SIDE)
    return _convolutions(
        BasicBlock(width, width), images, lambda m, x: (m(x) - wanted).square().mean()
    )


def sparse_layer(size: int, batch: int, density: float) -> Workload:
    """Forward and backward of a layer whose pattern is given, with all gradients."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    sparse = SparseLinear(size, size, density=density)
    dense = nn.Linear(size, size)
    dense.load_state_dict({"weight": sparse.to_dense().detach(), "bias": sparse.bias})
    x, dy = torch.randn(batch, size), torch.randn(batch, size)
    kept = dense.weight.detach().flatten().nonzero().ravel()

    def step(layer: Any, weight: Tensor, indices: Tensor | None) -> Sequence[Tensor]:
        input = x.detach().requires_grad_()
        output = layer(input)
        dx, dw, db = torch.autograd.grad(output, (input, weight, layer.bias), dy)
        return [output.detach(), dx, dw if indices is None else dw.flatten()[indices], db]

    peers: dict[str, Work] = {
        "nn.Linear": lambda: step(dense, dense.weight, kept),
        "torch CSR": _torch_csr_step(sparse, x, dy),
    }
    return Workload(lambda: step(sparse, sparse.values, None), peers, _sparse_advice, {})


def _convolutions(model: nn.Module, images: Tensor, loss: Loss) -> Workload:
    """Training steps dense, accelerated and in bfloat16, each with its own copy of the model."""
    import torch

    dense: Any = model
    dense.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    train = _step(dense, images, loss)
    for _ in range(TRAINED_STEPS):
        train()
    accelerated = accelerate(copy.deepcopy(dense), images)
    peers = {DENSE: _step(copy.deepcopy(dense), images, loss)}
    if _has_bf16():
        peers[BF16] = _step(copy.deepcopy(dense), images, loss, bf16=True)
    ours = _step(accelerated, images, loss)
    return Workload(ours, peers, _convolution_advice, {BF16: BF16_ROUNDING})


def _step(model: nn.Module, images: Tensor, loss: Loss, *, bf16: bool = False) -> Work:
    """Forward, loss, backward and update; gives the loss and the gradients."""
    import torch

    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step() -> Sequence[Tensor]:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            found = loss(model, images)
        found.backward()
        optimizer.step()
        return [
            found.detach(),
            *(each.grad for each in model.parameters() if each.grad is not None),
        ]

    return step


def _torch_csr_step(layer: SparseLinear, x: Tensor, dy: Tensor) -> Work:
    """PyTorch's sparse products, with all operands in the layout that they are fastest in.

    The transposed weights lie beside the weights; a step would have to renew their values too.
    """
    import torch

    matrix = sp.csr_array(layer.to_dense().detach().numpy())
    weight, transposed = torch_csr(matrix), torch_csr(sp.csr_array(matrix.T))
    zeros = torch_csr(matrix, np.zeros_like(matrix.data))
    assert layer.bias is not None
    bias = layer.bias.detach()[:, None]
    columns, dy_columns = x.t().contiguous(), dy.t().contiguous()

    def step() -> Sequence[Tensor]:
        output = (weight @ columns).add_(bias)
        by_values = torch.sparse.sampled_addmm(zeros, dy_columns, x, beta=0.0).values()
        return [output.t(), (transposed @ dy_columns).t(), by_values, dy_columns.sum(1)]

    return step


def _has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 numbers; elsewhere autocast makes a step slower."""
    try:
        return "bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _convolution_advice(gains: Mapping[str, float]) -> str:
    bf16 = gains.get(BF16, np.inf)
    if gains[DENSE] < PAYS:
        word = "does not pay" if gains[DENSE] > 1.0 / PAYS else "costs time"
        verdict = f"accelerate {word} for such layers here"
        return f"{verdict}; bf16 autocast pays." if bf16 * PAYS < gains[DENSE] else f"{verdict}."
    if bf16 < PAYS:
        return "accelerate pays in float32; where 8 bits will do, take bf16 autocast."
    return "Call espalier.accelerate(model, batch) before the training."


def _sparse_advice(gains: Mapping[str, float]) -> str:
    best = min(gains, key=lambda name: gains[name])
    if gains[best] < PAYS:
        return f"Stay with {best}: a layer of this density does not gain."
    return "Use espalier.nn.SparseLinear for layers this sparse."
