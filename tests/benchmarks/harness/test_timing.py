from __future__ import annotations

import pytest

from benchmarks.harness.timing import Spread, time_in_turns
from espalier import InputError


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    progress: list[tuple[int, int]] = []
    seconds = time_in_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        warm_ups=2,
        progress=lambda *call: progress.append(call),
    )
    assert calls == ["a", "b"] * 5
    assert progress == [(done, 10) for done in range(1, 11)]
    assert {name: len(spread.rounds) for name, spread in seconds.items()} == {"a": 3, "b": 3}
    assert all(second >= 0.0 for spread in seconds.values() for second in spread.rounds)


def test_a_slow_contestant_misses_the_last_turns() -> None:
    calls: list[str] = []
    seconds = time_in_turns(
        {"slow": lambda: calls.append("slow"), "fast": lambda: calls.append("fast")},
        rounds={"slow": 1, "fast": 3},
        warm_ups=0,
    )
    assert calls == ["slow", "fast", "fast", "fast"]
    assert len(seconds["slow"].over(seconds["fast"]).rounds) == 1


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"contestants": {}}, "contestants is empty"),
        ({"contestants": {"a": int}, "rounds": 0}, "rounds is 0"),
        ({"contestants": {"a": int}, "warm_ups": -1}, "warm_ups -1"),
        ({"contestants": {"a": int}, "rounds": {"b": 2}}, r"rounds names \['b'\]"),
    ],
)
def test_nothing_to_time_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        time_in_turns(**arguments)  # type: ignore[arg-type]
