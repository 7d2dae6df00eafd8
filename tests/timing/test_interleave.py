"""Timing in turns: rounds end when the fastest agree."""

from __future__ import annotations

import pytest

from espalier.timing.interleave import least_seconds


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
    assert least_seconds([clock([9.0, 5.0, 3.0, 1.0, 1.1])]) == ([pytest.approx(1.0)], [True])
    wild = clock(2.0**-turn for turn in range(100))
    assert least_seconds([wild]) == ([pytest.approx(2.0**-12)], [False])


def test_rounds_go_on_until_as_many_agree_as_must(clock):
    times = [9.0, 3.0, 3.1, 2.0, 2.1, 1.9, 1.0]
    assert least_seconds([clock(times)], agree=3) == ([pytest.approx(1.9)], [True])
    assert least_seconds([clock(times)], agree=2) == ([pytest.approx(2.0)], [True])
    pairs = clock([9.0, 8.0, 8.0, 4.0, 4.0, 2.0, 2.0])
    assert least_seconds([pairs], rounds=(3, 6), agree=3) == ([pytest.approx(2.0)], [True])


def test_a_steady_work_is_called_no_more_when_others_go_on(clock):
    steady, wild = clock([9.0, 1.0, 1.0, 1.0]), clock(2.0**-turn for turn in range(100))
    assert least_seconds([steady, wild])[1] == [True, False]


def test_short_works_are_warmed_up_before_each_timed_call(clock):
    seconds, _ = least_seconds([clock([3.0] + [9.0, 2.0] * 9)], rounds=(2, 4), warm_below=5.0)
    assert seconds == [pytest.approx(2.0)]
    seconds, _ = least_seconds([clock([6.0] * 4)], rounds=(2, 4), warm_below=5.0)
    assert seconds == [pytest.approx(6.0)]


def test_progress_ends_at_the_end(clock):
    told = []
    least_seconds([clock([1.0] * 9)], progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 12) and told[-1] == (12, 12)
    assert told == sorted(told)
