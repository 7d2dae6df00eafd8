"""One call of a layer: its three passes, each in the variant that was chosen for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from espalier.nn.choice import Site
from espalier.nn.curve import DENSE
from espalier.nn.masks import Mask, find, sampled_density
from espalier.nn.products import Gradients, Product, Wanted
from espalier.nn.upstream import is_plain_backward, is_stopped_at_zero


class Call:
    """What a forward pass leaves to its backward pass."""

    __slots__ = ("_look", "_mask", "_site", "_threads", "_untouched", "product")

    def __init__(
        self,
        product: Product,
        site: Site,
        threads: int,
        look: bool,
        mask: Mask | None = None,
        untouched: bool = False,
    ) -> None:
        self.product = product
        self._site = site
        self._threads = threads
        self._look = look
        self._mask = mask
        self._untouched = untouched

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output; x is in layout."""
        choice = self._site.forward
        if self._look:
            choice.decide({"input": self._density(x, self._mask)})
        if choice.variant == DENSE:
            return self.product.dense_forward(x, weight, bias)
        return self.product.forward(x, weight, bias, self._mask_of_input(x), self._threads)

    def backward(
        self, dy: Tensor, x: Tensor, weight: Tensor, wanted: Wanted, node: Any = None
    ) -> Gradients:
        """The wanted gradients by x, weight and bias.

        Arguments:
            node: the graph's node of this call; without one, the gradient by x is made whole.
        """
        product, site = self.product, self._site
        dy = product.layout(dy)
        dy_mask = find(dy, dy.shape[1])
        if self._look:
            self._decide(dy, dy_mask, x, wanted, node)
        by_input = self._variant_by_input(dy, dy_mask, x, node) if wanted[0] else None
        by_weight = site.backward_weight.variant if wanted[1] else None
        if dy_mask is None and "gradient" in (by_input, by_weight):
            dy_mask = Mask.of(product.rows(dy), self._threads)

        dense = by_input == DENSE, by_weight == DENSE, by_weight == DENSE and wanted[2]
        dx, dw, db = product.dense_backward(dy, x, weight, dense) if any(dense) else (None,) * 3
        if by_input == "gradient":
            dx = product.backward_input(dy, weight, x, mask=dy_mask, threads=self._threads)
        elif by_input == "needed":
            needed = self._mask_of_input(x)
            dx = product.backward_input(dy, weight, x, needed=needed, threads=self._threads)
        if by_weight in ("input", "gradient"):
            mask = self._mask_of_input(x) if by_weight == "input" else None
            masks = {"mask": mask, "dy_mask": dy_mask}
            dw = product.backward_weight(
                x, dy, weight, **masks, skip=by_weight, threads=self._threads
            )
        if wanted[2] and db is None:
            db = product.backward_bias(dy)
        return dx, dw, db

    def _variant_by_input(self, dy: Tensor, dy_mask: Mask | None, x: Tensor, node: Any) -> str:
        """The variant chosen, or the best other one where this call must not leave out entries."""
        choice = self._site.backward_input
        if choice.variant == "needed" and not self._may_omit(x, node):
            return choice.best({"gradient": self._density(dy, dy_mask)})
        return choice.variant

    def _decide(
        self, dy: Tensor, dy_mask: Mask | None, x: Tensor, wanted: Wanted, node: Any
    ) -> None:
        gradient, input = self._density(dy, dy_mask), self._density(x, self._mask)
        if wanted[0]:
            possible = {"gradient": gradient}
            if self._may_omit(x, node):
                possible["needed"] = input
            self._site.backward_input.decide(possible)
        if wanted[1]:
            self._site.backward_weight.decide({"input": input, "gradient": gradient})

    def _may_omit(self, x: Tensor, node: Any) -> bool:
        return (
            node is not None
            and self._untouched
            and is_plain_backward(node)
            and is_stopped_at_zero(x)
        )

    def _density(self, tensor: Tensor, mask: Mask | None) -> float:
        return sampled_density(self.product.rows(tensor)) if mask is None else mask.density

    def _mask_of_input(self, x: Tensor) -> Mask:
        if self._mask is None:
            self._mask = Mask.of(self.product.rows(x), self._threads)
        return self._mask
