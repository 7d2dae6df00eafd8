"""The three passes of training, and the ways to skip zeros in each."""

from __future__ import annotations

from typing import Literal

Pass = Literal["FWD", "BWI", "BWW"]  # forward, backward by input, backward by weight
# Skipped are zeros of the input, zeros of the output's gradient, or candidates of the input's
# gradient that nobody needs because a ReLU made the input zero there.
Variant = Literal["input", "gradient", "needed"]

PASSES: tuple[Pass, ...] = ("FWD", "BWI", "BWW")
_VARIANTS: dict[Pass, tuple[Variant, ...]] = {
    "FWD": ("input",),
    "BWI": ("needed", "gradient"),
    "BWW": ("input", "gradient"),
}


def variants(name: Pass, *, sparse_gradient: bool) -> tuple[Variant, ...]:
    """The ways to skip in a pass; those by gradient only where that has zeros.

    >>> variants("BWI", sparse_gradient=False), variants("BWW", sparse_gradient=True)
    (('needed',), ('input', 'gradient'))
    """
    return tuple(way for way in _VARIANTS[name] if sparse_gradient or way != "gradient")
