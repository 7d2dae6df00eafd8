"""Numbers as people write and read them: memory sizes, seconds, counts and rates."""

from __future__ import annotations

import re

from espalier.errors import InputError

_BYTES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _BYTES |= {f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def parse_bytes(text: str) -> int:
    """Bytes in a text such as ``4GiB``, ``500 MB`` or ``1048576``.

    >>> parse_bytes("4GiB"), parse_bytes("1.5 kB"), parse_bytes("1048576")
    (4294967296, 1500, 1048576)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _BYTES:
        raise InputError(f"memory size is {text!r}, wanted a number and a unit, such as 4GiB")
    wanted = int(float(match[1]) * _BYTES[match[2].lower()])
    if wanted < 1:
        raise InputError(f"memory size is {text!r}, wanted at least one byte")
    return wanted


def size(bytes_: float) -> str:
    """A number of bytes, in the units memory is sold in.

    >>> size(25_276_502_016), size(1536), size(12)
    ('23.5 GiB', '1.50 KiB', '12 B')
    """
    value, unit = float(bytes_), "B"
    for candidate in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1023.5:
            break
        value, unit = value / 1024.0, candidate
    return f"{int(value) if unit == 'B' else _three_digits(value)} {unit}"


def grid(replicas: int, parts: int) -> str:
    """Replicas and parts of a run on several processes.

    >>> grid(1, 2), grid(2, 1)
    ('1 replica of 2 parts', '2 replicas of 1 part')
    """
    both = (("replica", replicas), ("part", parts))
    return " of ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in both)


def seconds(value: float) -> str:
    """A duration with three significant digits.

    >>> seconds(0.0001234), seconds(0.0123), seconds(5.678), seconds(3725.0)
    ('123 us', '12.3 ms', '5.68 s', '1 h 02 min')
    """
    if value < 1e-3:
        return f"{_three_digits(value * 1e6)} us"
    if value < 1.0:
        return f"{_three_digits(value * 1e3)} ms"
    if value < 100.0:
        return f"{_three_digits(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def quantity(value: float, unit: str = "") -> str:
    """A number as words: in full up to a million, then with three significant digits.

    >>> quantity(236_000_000_000), quantity(1.5e12, "connections/s"), quantity(1830.2, "digits/s")
    ('236 billion', '1.50 trillion connections/s', '1,830 digits/s')
    """
    if value < 999_999.5:
        small = isinstance(value, float) and value < 99.95
        return f"{_three_digits(value) if small else f'{round(value):,}'} {unit}".rstrip()
    scaled, word = value / 1e6, "million"
    for candidate in ("billion", "trillion", "quadrillion"):
        if scaled < 999.5:
            break
        scaled, word = scaled / 1000.0, candidate
    return f"{_three_digits(scaled)} {word} {unit}".rstrip()


def count(value: int) -> str:
    """A whole number with separators.

    >>> count(3932160)
    '3,932,160'
    """
    return f"{value:,}"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
