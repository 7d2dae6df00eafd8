"""The spread of rounds, and ratios of them."""

from __future__ import annotations

from espalier.timing.spread import Spread


def test_spread_of_rounds() -> None:
    spread = Spread((3.0, 1.0, 2.0, 10.0))
    assert (spread.low, spread.median, spread.high) == (1.0, 2.5, 10.0)
    assert spread.to_dict() == {
        "median": 2.5,
        "low": 1.0,
        "high": 10.0,
        "rounds": [3.0, 1.0, 2.0, 10.0],
    }


def test_ratios_pair_the_rounds() -> None:
    """A slow moment that hits both leaves their ratio alone."""
    assert Spread((2.0, 20.0)).over(Spread((1.0, 10.0))).rounds == (2.0, 2.0)
