"""Cells of tables: spreads, durations, ratios and rates, short enough to stand side by side."""

from __future__ import annotations

from typing import Any

NOTHING = "-"
GIB = 2.0**30


def seconds(value: float | None) -> str:
    """A duration with three digits.

    >>> seconds(0.0128), seconds(5.678), seconds(2144.0), seconds(None)
    ('12.8 ms', '5.68 s', '2144 s', '-')
    """
    if value is None:
        return NOTHING
    return f"{digits(value * 1e3)} ms" if value < 1.0 else f"{digits(value)} s"


def spread(values: dict[str, Any] | None) -> str:
    """Seconds as median, lowest and highest.

    >>> spread({"median": 0.0128, "low": 0.0121, "high": 0.02})
    '12.8 ms (12.1 to 20.0)'
    """
    if values is None:
        return NOTHING
    unit = 1e3 if values["median"] < 1.0 else 1.0
    low, high = (digits(values[end] * unit) for end in ("low", "high"))
    return f"{seconds(values['median'])} ({low} to {high})"


def ratios(values: dict[str, Any] | None) -> str:
    """Ratios, one per round, as median, lowest and highest.

    >>> ratios({"median": 31.2, "low": 30.0, "high": 33.0})
    '31.2x (30.0 to 33.0)'
    """
    if values is None:
        return NOTHING
    return f"{digits(values['median'])}x ({digits(values['low'])} to {digits(values['high'])})"


def range_of(values: dict[str, Any]) -> str:
    """Numbers as median, lowest and highest.

    >>> range_of({"median": 1.52, "low": 1.4, "high": 2.0})
    '1.52 (1.40 to 2.00)'
    """
    return f"{digits(values['median'])} ({digits(values['low'])} to {digits(values['high'])})"


def ratio(value: float | None) -> str:
    """One number over another.

    >>> ratio(2.5), ratio(None)
    ('2.50x', '-')
    """
    return NOTHING if value is None else f"{digits(value)}x"


def shares(values: dict[str, Any] | None) -> str:
    """Parts of a whole, one per round, in percent.

    >>> shares({"median": 0.612, "low": 0.6, "high": 0.62})
    '61.2 % (60.0 to 62.0)'
    """
    if values is None:
        return NOTHING
    median, low, high = (100.0 * values[name] for name in ("median", "low", "high"))
    return f"{median:.1f} % ({low:.1f} to {high:.1f})"


def power(value: float | None) -> str:
    """Large numbers, such as rates.

    >>> power(1.84e13), power(None)
    ('1.84e13', '-')
    """
    return NOTHING if value is None else f"{value:.2e}".replace("e+", "e")


def count(value: int | None) -> str:
    """A whole number with separators.

    >>> count(60000), count(None)
    ('60,000', '-')
    """
    return NOTHING if value is None else f"{value:,}"


def gibibytes(value: float) -> str:
    """Memory.

    >>> gibibytes(12.5 * 2**30)
    '12.5 GiB'
    """
    return f"{digits(value / GIB)} GiB"


def digits(value: float) -> str:
    """At least three digits.

    >>> digits(0.1234), digits(12.34), digits(1234.5)
    ('0.12', '12.3', '1234')
    """
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def measured(record: dict[str, Any]) -> str:
    """How many rounds, and on how many samples where not on all.

    >>> measured({"rounds": 7, "measured_samples": 60000, "samples": 60000})
    '7'
    >>> measured({"rounds": 3, "measured_samples": 2000, "samples": 60000})
    '3 on 2,000 samples, scaled'
    """
    if record["measured_samples"] == record["samples"]:
        return str(record["rounds"])
    return f"{record['rounds']} on {record['measured_samples']:,} samples, scaled"
