"""The arguments of the kernels: each takes one struct, by value.

``arguments.Rows(x=..., ...)`` is the struct `Rows` of ``sources/rows.cu``: names, types and order
of the fields are read from there, when it is first asked for.
"""

from __future__ import annotations

import ctypes
import functools
import re
from typing import Any

from espalier.cuda.compiler import HEADERS, source, source_names

_STRUCT = re.compile(r"struct (\w+) \{(.*?)\n\};", re.DOTALL)
_FIELDS = re.compile(r"^\s*(?:const )?(\w+)(\*?) ([\w, ]+);", re.MULTILINE)
_NUMBERS: dict[str, Any] = {
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "int64": ctypes.c_longlong,
}


def __getattr__(name: str) -> type[ctypes.Structure]:
    if name not in _bodies():
        raise AttributeError(f"no source has a struct {name}")
    globals()[name] = struct = _struct(name)
    return struct


@functools.cache
def _struct(name: str) -> type[ctypes.Structure]:
    fields: list[tuple[str, Any]] = []
    for kind, pointer, names in _FIELDS.findall(_bodies()[name]):
        ctype = ctypes.c_void_p if pointer else _NUMBERS.get(kind) or _struct(kind)
        fields += [(each.strip(), ctype) for each in names.split(",")]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


@functools.cache
def _bodies() -> dict[str, str]:
    """What stands between the braces of every struct, by its name."""
    texts = [source(name) for name in (*HEADERS, *source_names())]
    return {name: body for text in texts for name, body in _STRUCT.findall(text)}
