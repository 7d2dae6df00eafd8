"""One call of a layer: its three passes, each in the variant that was chosen for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from espalier.nn.zeroskip.autotune import Site
from espalier.nn.zeroskip.bitmask import Mask, find, sampled_density
from espalier.nn.zeroskip.dead_gradient import is_plain_backward, is_stopped_at_zero
from espalier.nn.zeroskip.latency import DENSE
from espalier.nn.zeroskip.ops import Gradients, Product, Wanted


class Operand:
    """A tensor in layout, with its mask: the one it came with, or one scanned when asked for.

    Attributes:
        known_mask: the mask, if there is one by now.
    """

    __slots__ = ("_product", "_threads", "known_mask", "tensor")

    def __init__(self, product: Product, tensor: Tensor, mask: Mask | None, threads: int) -> None:
        self.tensor = tensor
        self.known_mask = mask
        self._product = product
        self._threads = threads

    @property
    def mask(self) -> Mask:
        """Its non-zeros."""
        if self.known_mask is None:
            self.known_mask = Mask.of(self._product.rows(self.tensor), self._threads)
        return self.known_mask

    @property
    def density(self) -> float:
        """The share of its non-zeros; a sample's, as long as there is no mask."""
        if self.known_mask is None:
            return sampled_density(self._product.rows(self.tensor))
        return self.known_mask.density


class Call:
    """What a forward pass leaves to its backward pass, beside tensors."""

    __slots__ = ("_look", "_site", "_threads", "_untouched", "product")

    def __init__(
        self, product: Product, site: Site, threads: int, look: bool, untouched: bool = False
    ) -> None:
        self.product = product
        self._site = site
        self._threads = threads
        self._look = look
        self._untouched = untouched

    def operand(self, tensor: Tensor, mask: Mask | None) -> Operand:
        """An input or a gradient of this call, and the mask left on it, brought in layout."""
        in_layout = self.product.layout(tensor)
        # A copy has its rows in another order.
        return Operand(
            self.product, in_layout, mask if in_layout is tensor else None, self._threads
        )

    def forward(self, x: Operand, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output."""
        choice = self._site.forward
        if self._look:
            choice.decide({"input": x.density})
        if choice.variant == DENSE:
            return self.product.dense_forward(x.tensor, weight, bias)
        return self.product.forward(x.tensor, weight, bias, x.mask, self._threads)

    def backward(
        self, gradient: Tensor, x: Operand, weight: Tensor, wanted: Wanted, node: Any = None
    ) -> Gradients:
        """The wanted gradients by x, weight and bias.

        Arguments:
            gradient: the one by the output.
            node: the graph's node of this call; without one, the gradient by x is made whole.
        """
        product, threads = self.product, self._threads
        dy = self.operand(gradient, find(gradient, gradient.shape[1]))
        if self._look:
            self._decide(dy, x, wanted, node)
        by_input = self._variant_by_input(dy, x, node) if wanted[0] else None
        by_weight = self._site.backward_weight.variant if wanted[1] else None

        dense = by_input == DENSE, by_weight == DENSE, by_weight == DENSE and wanted[2]
        dx, dw, db = (
            product.dense_backward(dy.tensor, x.tensor, weight, dense)
            if any(dense)
            else (None, None, None)
        )
        if by_input in ("gradient", "needed"):
            mask = {"mask": dy.mask} if by_input == "gradient" else {"needed": x.mask}
            dx = product.backward_input(dy.tensor, weight, x.tensor, **mask, threads=threads)
        if by_weight in ("input", "gradient"):
            mask = {"mask": x.mask} if by_weight == "input" else {"dy_mask": dy.mask}
            dw = product.backward_weight(
                x.tensor, dy.tensor, weight, **mask, skip=by_weight, threads=threads
            )
        if wanted[2] and db is None:
            db = product.backward_bias(dy.tensor)
        return dx, dw, db

    def _variant_by_input(self, dy: Operand, x: Operand, node: Any) -> str:
        """The variant chosen, or the best other one where this call must not leave out entries."""
        choice = self._site.backward_input
        variant = choice.variant  # once: another thread may be about to choose
        if variant == "needed" and not self._may_omit(x.tensor, node):
            return choice.best({"gradient": dy.density})
        return variant

    def _decide(self, dy: Operand, x: Operand, wanted: Wanted, node: Any) -> None:
        if wanted[0]:
            possible = {"gradient": dy.density}
            if self._may_omit(x.tensor, node):
                possible["needed"] = x.density
            self._site.backward_input.decide(possible)
        if wanted[1]:
            self._site.backward_weight.decide({"input": x.density, "gradient": dy.density})

    def _may_omit(self, x: Tensor, node: Any) -> bool:
        return (
            node is not None
            and self._untouched
            and is_plain_backward(node)
            and is_stopped_at_zero(x)
        )
