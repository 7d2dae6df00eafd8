"""One call of a layer: its three passes, each in the variant that was chosen for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from espalier.nn.custom_ops import Gradients, NeedsInputGrad
from espalier.nn.zeroskip.autotune import ShapeEntry
from espalier.nn.zeroskip.bitmask import Mask, attached
from espalier.nn.zeroskip.dead_gradient import is_plain_backward, is_stopped_at_zero
from espalier.nn.zeroskip.latency import DENSE
from espalier.nn.zeroskip.ops import LayerOp, MaskedTensor


class LayerDispatch:
    """How one call of a layer runs; the forward pass keeps it for the backward pass."""

    __slots__ = ("_entry", "_samples_density", "_threads", "_untouched", "op")

    def __init__(
        self,
        op: LayerOp,
        entry: ShapeEntry,
        threads: int,
        samples_density: bool,
        untouched: bool = False,
    ) -> None:
        self.op = op
        self._entry = entry
        self._threads = threads
        self._samples_density = samples_density
        self._untouched = untouched

    def masked(self, tensor: Tensor, mask: Mask | None) -> MaskedTensor:
        """An input or a gradient of this call, and the mask attached to it, brought in layout."""
        in_layout = self.op.layout(tensor)
        # A copy has its rows in another order.
        return MaskedTensor(
            self.op, in_layout, mask if in_layout is tensor else None, self._threads
        )

    def forward(self, x: MaskedTensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output."""
        tuner = self._entry.forward
        if self._samples_density:
            tuner.choose({"input": x.density})
        if tuner.variant == DENSE:
            return self.op.dense_forward(x.tensor, weight, bias)
        return self.op.forward(x, weight, bias)

    def backward(
        self,
        gradient: Tensor,
        x: MaskedTensor,
        weight: Tensor,
        needs_input_grad: NeedsInputGrad,
        node: Any = None,
    ) -> Gradients:
        """The gradients by x, weight and bias that are needed.

        Arguments:
            gradient: the one by the output.
            node: the graph's node of this call; without one, the gradient by x is made whole.
        """
        op, (needs_x, needs_weight, needs_bias) = self.op, needs_input_grad
        dy = self.masked(gradient, attached(gradient, gradient.shape[1]))
        if self._samples_density:
            self._choose(dy, x, needs_input_grad, node)
        by_input = self._input_variant(dy, x, node) if needs_x else None
        by_weight = self._entry.backward_weight.variant if needs_weight else None

        dense = by_input == DENSE, by_weight == DENSE, by_weight == DENSE and needs_bias
        dx, dw, db = (
            op.dense_backward(dy.tensor, x.tensor, weight, dense)
            if any(dense)
            else (None, None, None)
        )
        if by_input in ("gradient", "needed"):
            dx = op.backward_input(by_input, dy, x, weight)
        if by_weight in ("input", "gradient"):
            dw = op.backward_weight(by_weight, dy, x, weight)
        if needs_bias and db is None:
            db = op.backward_bias(dy.tensor)
        return dx, dw, db

    def _input_variant(self, dy: MaskedTensor, x: MaskedTensor, node: Any) -> str:
        """The variant chosen, or the best other one where this call must not leave out entries."""
        tuner = self._entry.backward_input
        variant = tuner.variant  # once: another thread may be about to choose
        if variant == "needed" and not self._may_omit(x.tensor, node):
            return tuner.best({"gradient": dy.density})
        return variant

    def _choose(
        self, dy: MaskedTensor, x: MaskedTensor, needs_input_grad: NeedsInputGrad, node: Any
    ) -> None:
        if needs_input_grad[0]:
            possible = {"gradient": dy.density}
            if self._may_omit(x.tensor, node):
                possible["needed"] = x.density
            self._entry.backward_input.choose(possible)
        if needs_input_grad[1]:
            self._entry.backward_weight.choose({"input": x.density, "gradient": dy.density})

    def _may_omit(self, x: Tensor, node: Any) -> bool:
        return (
            node is not None
            and self._untouched
            and is_plain_backward(node)
            and is_stopped_at_zero(x)
        )
