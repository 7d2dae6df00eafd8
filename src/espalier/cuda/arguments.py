"""The arguments of the kernels: each takes one struct, by value, field by field as in `sources`."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p
from typing import Any, ClassVar


class Response(ctypes.Structure):
    """How a layer answers, and where a kernel says what it saw."""

    _fields_: ClassVar[list[Any]] = [
        ("bias", c_void_p),
        ("lower", c_float),
        ("upper", c_float),
        ("saturated", c_float),
        ("notes", c_void_p),
        ("status", c_void_p),
    ]


class LoadDense(ctypes.Structure):
    """`load_dense`: samples in rows, of any strides."""

    _fields_: ClassVar[list[Any]] = [
        ("x", c_void_p),
        ("row_stride", c_longlong),
        ("column_stride", c_longlong),
        ("panels", c_void_p),
        ("samples", c_int),
        ("inputs", c_int),
        ("tile", c_int),
        ("status", c_void_p),
    ]


class LoadCsr(ctypes.Structure):
    """`load_csr_int32` and `load_csr_int64`: samples in CSR."""

    _fields_: ClassVar[list[Any]] = [
        ("row_offsets", c_void_p),
        ("column_indices", c_void_p),
        ("values", c_void_p),
        ("panels", c_void_p),
        ("first", c_int),
        ("samples", c_int),
        ("inputs", c_int),
        ("tile", c_int),
        ("status", c_void_p),
    ]


class Rows(ctypes.Structure):
    """`rows_*`: rows with columns of their own."""

    _fields_: ClassVar[list[Any]] = [
        ("x", c_void_p),
        ("y", c_void_p),
        ("count", c_void_p),
        ("offsets", c_void_p),
        ("entries", c_void_p),
        ("rows", c_void_p),
        ("row_count", c_int),
        ("inputs", c_int),
        ("outputs", c_int),
        ("response", Response),
    ]


class Blocks(ctypes.Structure):
    """`blocks_*`: rows that share columns."""

    _fields_: ClassVar[list[Any]] = [
        ("x", c_void_p),
        ("y", c_void_p),
        ("count", c_void_p),
        ("offsets", c_void_p),
        ("columns", c_void_p),
        ("weights", c_void_p),
        ("rows", c_void_p),
        ("block_count", c_int),
        ("inputs", c_int),
        ("outputs", c_int),
        ("response", Response),
    ]


class ResidentLayer(ctypes.Structure):
    """One of the layers of `resident_*`, in device memory."""

    _fields_: ClassVar[list[Any]] = [
        ("slice_offsets", c_void_p),
        ("entries", c_void_p),
        ("bias", c_void_p),
        ("lower", c_float),
        ("upper", c_float),
        ("saturated", c_float),
        ("outputs", c_int),
        ("droppable", c_int),
    ]


class Resident(ctypes.Structure):
    """`resident_*`: several layers in shared memory."""

    _fields_: ClassVar[list[Any]] = [
        ("x", c_void_p),
        ("y", c_void_p),
        ("count", c_void_p),
        ("layers", c_void_p),
        ("notes", c_void_p),
        ("processed", c_void_p),
        ("status", c_void_p),
        ("depth", c_int),
        ("inputs", c_int),
        ("tile", c_int),
        ("second", c_int),
        ("drop", c_int),
    ]


class Compact(ctypes.Structure):
    """`survivors`, `place` and `settle`: dead and finished samples leave."""

    _fields_: ClassVar[list[Any]] = [
        ("count", c_void_p),
        ("count_after", c_void_p),
        ("notes", c_void_p),
        ("sample", c_void_p),
        ("sample_after", c_void_p),
        ("source", c_void_p),
        ("fate", c_void_p),
        ("survivors", c_void_p),
        ("drop", c_int),
        ("freeze", c_int),
        ("turn", c_int),
    ]


class Gather(ctypes.Structure):
    """`gather`: activations move to their new slots."""

    _fields_: ClassVar[list[Any]] = [
        ("x", c_void_p),
        ("y", c_void_p),
        ("count", c_void_p),
        ("source", c_void_p),
        ("width", c_int),
        ("tile", c_int),
    ]


class Begin(ctypes.Structure):
    """`begin`: every sample in the slot of its number."""

    _fields_: ClassVar[list[Any]] = [
        ("sample", c_void_p),
        ("fate", c_void_p),
        ("count", c_void_p),
        ("samples", c_int),
    ]


class StoreRows(ctypes.Structure):
    """`store_rows`: living slots, row by row."""

    _fields_: ClassVar[list[Any]] = [
        ("panels", c_void_p),
        ("rows", c_void_p),
        ("count", c_void_p),
        ("width", c_int),
        ("tile", c_int),
    ]


class Expand(ctypes.Structure):
    """`expand`: all samples and outputs of the caller."""

    _fields_: ClassVar[list[Any]] = [
        ("panels", c_void_p),
        ("y", c_void_p),
        ("fate", c_void_p),
        ("unit", c_void_p),
        ("constant", c_void_p),
        ("saturated", c_float),
        ("samples", c_int),
        ("outputs", c_int),
        ("width", c_int),
        ("tile", c_int),
    ]


class Product(ctypes.Structure):
    """`product_*`: a pattern times a batch."""

    _fields_: ClassVar[list[Any]] = [
        ("values", c_void_p),
        ("offsets", c_void_p),
        ("columns", c_void_p),
        ("places", c_void_p),
        ("x", c_void_p),
        ("bias", c_void_p),
        ("y", c_void_p),
        ("x_stride", c_longlong),
        ("y_stride", c_longlong),
        ("batch", c_longlong),
        ("rows", c_int),
    ]


class Sampled(ctypes.Structure):
    """`sampled_*`: the gradient of a pattern's values."""

    _fields_: ClassVar[list[Any]] = [
        ("offsets", c_void_p),
        ("columns", c_void_p),
        ("dy", c_void_p),
        ("x", c_void_p),
        ("gradient", c_void_p),
        ("dy_stride", c_longlong),
        ("x_stride", c_longlong),
        ("batch", c_longlong),
        ("rows", c_int),
    ]


class CsrStep(ctypes.Structure):
    """`respond_csr`, `place_rows` and `compact_csr`: between sparse products."""

    _fields_: ClassVar[list[Any]] = [
        ("offsets", c_void_p),
        ("columns", c_void_p),
        ("values", c_void_p),
        ("bias", c_void_p),
        ("lower", c_float),
        ("upper", c_float),
        ("rows", c_int),
        ("kept", c_void_p),
        ("offsets_after", c_void_p),
        ("columns_after", c_void_p),
        ("values_after", c_void_p),
        ("sample", c_void_p),
        ("sample_after", c_void_p),
        ("totals", c_void_p),
        ("drop", c_int),
        ("status", c_void_p),
    ]


class DenseStep(ctypes.Structure):
    """`respond_dense`: bias and clamp behind a dense product."""

    _fields_: ClassVar[list[Any]] = [
        ("values", c_void_p),
        ("bias", c_void_p),
        ("lower", c_float),
        ("upper", c_float),
        ("samples", c_longlong),
        ("outputs", c_int),
    ]
