"""Convolution and linear layers that skip zeros where that is faster: torch's own, extended."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import InputError
from espalier.nn.torch_tools import is_supported, may_compile, with_shape
from espalier.nn.zeroskip import operators
from espalier.nn.zeroskip.autograd import apply
from espalier.nn.zeroskip.autotune import MEASURED, RULES, LayerTuner
from espalier.nn.zeroskip.ops import Convolution, LayerOp, Linear, Pair


class ZeroSkipLayer(nn.Module):
    """What the layers of this file share: the tuner of their passes.

    They are plain float32 layers on the CPU that skip zeros in eager mode and under
    `torch.compile`. All else (other types and devices, autocast, functorch, forward-mode
    gradients, a gradient of the gradient) is left to PyTorch's operators, and so is every pass in
    which zeros do not pay on this machine.

    A zero that is skipped adds nothing, even where it would meet an infinity or a NaN, which gives
    NaN in PyTorch. All other results differ by the order of summation alone.

    Where an input came out of a ReLU and is 0, its gradient is stopped by that ReLU whatever it
    is, so it may be left out: what lies before the ReLU gets the same gradients. This is found in
    the graph at each call of ``backward()``. It is done where the input is a ReLU's output, or
    max-pooling or a view of one, and no hook, ``retain_grad``, ``backward(inputs=...)`` or
    `torch.autograd.grad` sees a gradient on the way; nor with a frozen weight, under hooks on
    saved tensors (checkpoints), or under `torch.compile`. Only a pre-hook on a node of the graph
    (``x.grad_fn.register_prehook``) cannot be seen, and does see the zeros.

    `torch.export` and `torch.compile` take these layers; `torch.jit.script` does not.
    """

    tuner: LayerTuner

    def reset_tuner(self, rule: str = MEASURED) -> None:
        """Tune from the start: a new layer, or torch's own layer that became one of these."""
        if rule not in RULES:
            raise InputError(f"passes is {rule!r}, wanted one of {', '.join(RULES)}")
        self.tuner = LayerTuner(rule)

    @staticmethod
    def op_of(layer: Any) -> LayerOp | None:
        """The operation of a layer, torch's or one of these; None where no kernel has it."""
        raise NotImplementedError

    @property
    def choices(self) -> LayerTuner:
        """Another name of `tuner`."""
        return self.tuner

    def adopt(self, rule: str = MEASURED) -> None:
        """Another name of `reset_tuner`."""
        self.reset_tuner(rule)

    @property
    def passes(self) -> str:
        """How each pass is chosen: ``"measured"``, or ``"zeroskip"`` or ``"dense"`` by force."""
        return self.tuner.rule

    @passes.setter
    def passes(self, rule: str) -> None:
        self.reset_tuner(rule)


class ZeroSkipConv2d(ZeroSkipLayer, nn.Conv2d):
    """`torch.nn.Conv2d` that skips the zeros of activations and gradients in all three passes.

    Takes the arguments of `torch.nn.Conv2d`, has its parameters and its ``state_dict``, and keeps
    weights and outputs in ``channels_last``. Layers with dilation, groups or a padding mode other
    than zeros run as they do in PyTorch. Source: "SparseTrain: Leveraging Dynamic Sparsity in
    Training DNNs on General-Purpose SIMD Processors" (Gong et al., PACT 2020).

    Arguments:
        passes: ``"measured"``, or ``"zeroskip"`` or ``"dense"`` to force every pass.

    >>> layer = ZeroSkipConv2d(3, 8, kernel_size=3, padding=1)
    >>> layer(torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, *args: Any, passes: str = MEASURED, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reset_tuner(passes)

    def reset_tuner(self, rule: str = MEASURED) -> None:
        super().reset_tuner(rule)
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        op = self.op_of(self)
        if op is not None:
            if torch.compiler.is_compiling():
                if input.dim() == 4 and may_compile(input, weight, bias):
                    return operators.convolution(op, self.tuner.handle, input, weight, bias)
            elif is_supported(input, weight, bias) and op.supports_shapes(input, weight, bias):
                return apply(op, self.tuner, input, weight, bias, input)
        y: Tensor = super()._conv_forward(input, weight, bias)
        return y

    @staticmethod
    def op_of(layer: nn.Conv2d) -> Convolution | None:
        stride = _pair(layer.stride, least=1)
        supported = layer.groups == 1 and layer.padding_mode == "zeros"
        if not supported or stride is None or _pair(layer.dilation, least=1) != (1, 1):
            return None
        if isinstance(layer.padding, str):
            return _named_padding(layer.padding, stride, layer.kernel_size)
        padding = _pair(layer.padding, least=0)
        return None if padding is None else Convolution(stride, padding)


class ZeroSkipLinear(ZeroSkipLayer, nn.Linear):
    """`torch.nn.Linear` that skips the zeros of activations and gradients in all three passes.

    Takes the arguments of `torch.nn.Linear`, has its parameters and its ``state_dict``.

    Arguments:
        passes: ``"measured"``, or ``"zeroskip"`` or ``"dense"`` to force every pass.

    >>> ZeroSkipLinear(3, 8)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, *args: Any, passes: str = MEASURED, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reset_tuner(passes)

    def forward(self, input: Tensor) -> Tensor:
        """``input @ weight.T + bias``."""
        weight, bias = self.weight, self.bias
        if torch.compiler.is_compiling():
            if input.dim() > 1 and may_compile(input, weight, bias):
                return operators.linear(self.tuner.handle, input, weight, bias)
        elif is_supported(input, weight, bias) and input.dim() > 1 and 0 not in input.shape:
            rows = input if input.dim() == 2 else input.reshape(-1, input.shape[-1])
            if _LINEAR.supports_shapes(rows, weight, bias):
                y = apply(_LINEAR, self.tuner, rows, weight, bias, input)
                return y if input.dim() == 2 else with_shape(y, (*input.shape[:-1], y.shape[1]))
        return super().forward(input)

    @staticmethod
    def op_of(layer: nn.Linear) -> Linear:
        return _LINEAR


_LINEAR = Linear()


def _pair(option: Any, least: int) -> Pair | None:
    """One number or two as two, as torch reads an option; None where it will raise an error."""
    pair = tuple(option) if isinstance(option, (tuple, list)) else (option,)
    pair = pair * 2 if len(pair) == 1 else pair
    valid = len(pair) == 2 and all(isinstance(each, int) and each >= least for each in pair)
    return (pair[0], pair[1]) if valid else None


def _named_padding(name: str, stride: Pair, kernel: tuple[int, ...]) -> Convolution | None:
    """The padding ``"valid"`` or ``"same"`` in numbers; None if one side gets more."""
    if name == "valid":
        return Convolution(stride, (0, 0))
    if any(size % 2 == 0 for size in kernel):
        return None
    return Convolution(stride, (kernel[0] // 2, kernel[1] // 2))
