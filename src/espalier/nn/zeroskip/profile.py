"""Run a model on an example, forward and backward, and see where zeros come from."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espalier.nn.torch_tools import tensors_in
from espalier.nn.zeroskip.dead_gradient import is_stopped_at_zero

# Denser than this is dense: a zero here and there saves nothing.
_SPARSE = 0.95


@dataclass
class LayerCall:
    """One call of a layer.

    Attributes:
        input, weight: their shapes.
        output_id, input_id: identities of the tensors, to find the ReLUs beside the layer.
        requires_grad: whether gradients of the input and of the weight are computed.
        densities: shares of non-zeros, of ``"input"`` and ``"gradient"``, and for ``"needed"`` of
            the input again where a ReLU stops its gradient.
    """

    module: nn.Module
    input: torch.Size
    weight: torch.Size
    input_id: int
    output_id: int
    requires_grad: tuple[bool, bool]
    densities: dict[str, float]

    @property
    def sparse(self) -> set[str]:
        """The variants for which there are zeros to skip."""
        return {name for name, density in self.densities.items() if density < _SPARSE}


@dataclass
class ModelProfile:
    """What one run has shown: calls of layers, and of ReLUs by the identities of their tensors."""

    layers: list[LayerCall]
    relus: list[tuple[nn.Module, int, int]]

    def relus_beside(self, modules: Container[nn.Module]) -> list[nn.Module]:
        """ReLUs from which one of these layers takes its input, or which take its output."""
        calls = [call for call in self.layers if call.module in modules]
        inputs = {call.input_id for call in calls}
        outputs = {call.output_id for call in calls}
        beside = [relu for relu, x, y in self.relus if x in outputs or y in inputs]
        return list(dict.fromkeys(beside))


def profile(
    model: nn.Module,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    layers: list[nn.Module],
    relus: list[nn.Module],
) -> ModelProfile:
    """Run the example, and record the calls of these modules."""
    found = ModelProfile([], [])
    alive: list[Tensor] = []  # identities are those of tensors that still exist

    def record_layer(module: nn.Module, inputs: tuple[Any, ...], y: Any) -> None:
        x = inputs[0] if inputs else None
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            return
        alive.extend((x, y))
        weight: Any = module.weight
        requires_grad = x.requires_grad, weight.requires_grad
        densities = {"input": _density(x)}
        if is_stopped_at_zero(x):
            densities["needed"] = densities["input"]
        call = LayerCall(module, x.shape, weight.shape, id(x), id(y), requires_grad, densities)
        found.layers.append(call)
        if y.requires_grad:
            y.register_hook(lambda dy: densities.update(gradient=_density(dy)))

    def record_relu(module: nn.Module, inputs: tuple[Any, ...], y: Any) -> None:
        if inputs and isinstance(y, Tensor):
            alive.extend((inputs[0], y))
            found.relus.append((module, id(inputs[0]), id(y)))

    with ExitStack() as hooks:
        for module in layers:
            hooks.enter_context(module.register_forward_hook(record_layer))
        for module in relus:
            hooks.enter_context(module.register_forward_hook(record_relu))
        run_example(model, arguments)
    return found


def run_example(model: nn.Module, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    """Forward and backward, leaving parameters, buffers, gradients and random numbers alone."""
    state: dict[str, Tensor] = {
        name: parameter.detach().requires_grad_(parameter.requires_grad)
        for name, parameter in model.named_parameters()
    }
    state.update((name, buffer.clone()) for name, buffer in model.named_buffers())
    # Gradients go past those parameters where a module holds them elsewhere, as nn.LSTM does.
    leaves = [*model.parameters(), *(each for each in tensors_in(arguments) if each.is_leaf)]
    with _kept_gradients(leaves), torch.random.fork_rng(devices=[]), torch.enable_grad():
        y = torch.func.functional_call(model, state, *arguments)
        outputs = [each for each in tensors_in(y) if each.requires_grad]
        if outputs:
            torch.autograd.backward(outputs, [torch.randn_like(each) for each in outputs])


@contextmanager
def _kept_gradients(leaves: list[Tensor]) -> Iterator[None]:
    """Take the gradients away, and put them back at the end."""
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient


def _density(tensor: Tensor) -> float:
    return int(torch.count_nonzero(tensor.detach())) / max(tensor.numel(), 1)
