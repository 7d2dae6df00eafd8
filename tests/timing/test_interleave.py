"""Interleaved rounds: all are called in order, some until their fastest rounds agree."""

from __future__ import annotations

import pytest

from espalier import InputError
from espalier.timing.interleave import interleave, minimum_seconds, time_interleaved


@pytest.fixture
def clock(monkeypatch):
    """A pretended clock; `clock(times)` is a work that takes these seconds, one after the other."""
    now = [0.0]
    monkeypatch.setattr("espalier.timing.interleave.perf_counter", lambda: now[0])

    def work(times):
        each = iter(times)

        def run():
            now[0] += next(each)

        return run

    return work


def test_rounds_go_on_until_two_agree(clock):
    assert minimum_seconds([clock([9.0, 5.0, 3.0, 1.0, 1.1])]) == ([pytest.approx(1.0)], [True])
    wild = clock(2.0**-power for power in range(100))
    assert minimum_seconds([wild]) == ([pytest.approx(2.0**-12)], [False])


def test_rounds_go_on_until_as_many_agree_as_must(clock):
    times = [9.0, 3.0, 3.1, 2.0, 2.1, 1.9, 1.0]
    assert minimum_seconds([clock(times)], agree=3) == ([pytest.approx(1.9)], [True])
    assert minimum_seconds([clock(times)], agree=2) == ([pytest.approx(2.0)], [True])
    pairs = clock([9.0, 8.0, 8.0, 4.0, 4.0, 2.0, 2.0])
    assert minimum_seconds([pairs], rounds=(3, 6), agree=3) == ([pytest.approx(2.0)], [True])


def test_a_steady_work_is_called_no_more_when_others_go_on(clock):
    steady, wild = clock([9.0, 1.0, 1.0, 1.0]), clock(2.0**-power for power in range(100))
    assert minimum_seconds([steady, wild])[1] == [True, False]


def test_short_works_are_warmed_up_before_each_timed_call(clock):
    seconds, _ = minimum_seconds([clock([3.0] + [9.0, 2.0] * 9)], rounds=(2, 4), warm_below=5.0)
    assert seconds == [pytest.approx(2.0)]
    seconds, _ = minimum_seconds([clock([6.0] * 4)], rounds=(2, 4), warm_below=5.0)
    assert seconds == [pytest.approx(6.0)]


def test_progress_ends_at_the_end(clock):
    told = []
    minimum_seconds([clock([1.0] * 9)], progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 12) and told[-1] == (12, 12)
    assert told == sorted(told)


def test_all_are_called_in_every_round() -> None:
    calls: list[str] = []
    progress: list[tuple[int, int]] = []
    seconds = time_interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        warm_ups=2,
        progress=lambda *call: progress.append(call),
    )
    assert calls == ["a", "b"] * 5
    assert progress == [(done, 10) for done in range(1, 11)]
    assert {name: len(spread.rounds) for name, spread in seconds.items()} == {"a": 3, "b": 3}
    assert all(second >= 0.0 for spread in seconds.values() for second in spread.rounds)


def test_a_slow_work_misses_the_last_rounds() -> None:
    calls: list[str] = []
    seconds = time_interleaved(
        {"slow": lambda: calls.append("slow"), "fast": lambda: calls.append("fast")},
        rounds={"slow": 1, "fast": 3},
        warm_ups=0,
    )
    assert calls == ["slow", "fast", "fast", "fast"]
    assert len(seconds["slow"].over(seconds["fast"]).rounds) == 1


def test_short_works_are_called_several_times_for_one_timing(clock):
    short, long = clock([9.0] + [2.0] * 19), clock([5.0] + [70.0] * 9)
    seconds = time_interleaved({"short": short, "long": long}, rounds=2, settle=0.0, at_least=5.0)
    assert seconds["short"].rounds == pytest.approx((2.0, 2.0))
    assert seconds["long"].rounds == pytest.approx((70.0, 70.0))
    with pytest.raises(StopIteration):  # 2 calls to count, then 3 in each of 3 rounds
        [short() for _ in range(20 - 2 - 3 * 3 + 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"works": {}}, "works is empty"),
        ({"works": {"a": int}, "rounds": 0}, "rounds is 0"),
        ({"works": {"a": int}, "warm_ups": -1}, "warm_ups -1"),
        ({"works": {"a": int}, "rounds": {"b": 2}}, r"rounds names \['b'\]"),
    ],
)
def test_nothing_to_time_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        time_interleaved(**arguments)  # type: ignore[arg-type]


def test_progress_comes_to_its_end_when_all_are_done_early():
    progress: list[tuple[int, int]] = []
    measured = interleave(
        {"a": lambda: 1, "b": lambda: 2},
        9,
        is_done=lambda key, found: len(found) == (1 if key == "a" else 2),
        progress=lambda *call: progress.append(call),
    )
    assert measured == {"a": [1], "b": [2, 2]}
    assert progress == [(1, 20), (2, 20), (3, 20), (4, 20), (6, 20), (20, 20)]
