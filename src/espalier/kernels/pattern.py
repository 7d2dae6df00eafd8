"""Products with a fixed pattern of non-zeros whose values change: training a sparse layer.

The weights ``W`` of a layer are ``[rows, columns]``; a row makes an output. Samples are float32
``[batch, features]``. Two layouts need no copy: samples in C order, and in F order, which is how
the kernels work inside: a batch of whole vectors that fits one tile (128 samples under AVX-512)
is then read and written where it lies.

Every sum is made in a fixed order: whatever the layout, the same bits for the same number of
threads. A pattern that stays in cache is read by every thread, each with samples of its own. Then
the sums over samples, the gradients by values and bias, are made in parts, and their last bits
depend on how many threads there are; all else does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from espalier import _native
from espalier.errors import InputError
from espalier.kernels.threads import thread_count

Floats = NDArray[np.float32]


class Gradients(NamedTuple):
    """What a backward pass computed; None where it was not needed."""

    x: Floats | None
    values: Floats | None
    bias: Floats | None


class Pattern:
    """Where the non-zeros of ``W`` stand, with the transpose beside it: checked and copied once.

    Arguments:
        row_offsets: int64 ``[rows + 1]``, rising from 0 to the number of non-zeros.
        column_indices: int32 ``[nonzeros]``, rising within each row.
        columns: width of ``W``.

    Raises:
        InputError: arrays that are no such pattern.

    >>> pattern = Pattern([0, 1, 3], [1, 0, 1], columns=2)
    >>> values = np.array([2.0, 3.0, 4.0], np.float32)
    >>> pattern.spmm(values, np.array([[1.0, 10.0]], np.float32))
    array([[20., 43.]], dtype=float32)
    """

    def __init__(self, row_offsets: ArrayLike, column_indices: ArrayLike, columns: int) -> None:
        offsets = _whole_numbers("row_offsets", row_offsets, np.int64)
        indices = _whole_numbers("column_indices", column_indices, np.int32)
        try:
            self._native = _native.Pattern(offsets, indices, columns)
        except (TypeError, ValueError) as error:
            raise InputError(f"not a pattern with {columns!r} columns: {error}") from None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of ``W``."""
        return self._native.rows, self._native.columns

    @property
    def nonzeros(self) -> int:
        """Entries of the pattern."""
        return self._native.nonzeros

    def describes(self, row_offsets: NDArray[Any], column_indices: NDArray[Any]) -> bool:
        """Whether these arrays are, number by number, the ones this pattern was made of."""
        arrays = (row_offsets, np.int64), (column_indices, np.int32)
        if any(a.ndim != 1 or a.dtype != kind or not a.flags.c_contiguous for a, kind in arrays):
            return False
        return bool(self._native.describes(row_offsets, column_indices))

    def spmm(
        self,
        values: Floats,
        x: Floats,
        bias: Floats | None = None,
        *,
        out: Floats | None = None,
        threads: int | None = None,
    ) -> Floats:
        """``x @ W.T + bias``: the forward pass.

        Arguments:
            values: ``[nonzeros]``, in the order of the pattern.
            x: ``[batch, columns]``.
            bias: ``[rows]``.
            out: where to write the result, in C or F order.

        Returns:
            ``[batch, rows]``.

        Raises:
            InputError: an array of another shape or dtype.
        """
        rows, columns = self.shape
        x = _samples("x", x, columns)
        y = _result("out", out, (len(x), rows))
        self._native.spmm(
            _vector("values", values, self.nonzeros),
            x,
            None if bias is None else _vector("bias", bias, rows),
            y,
            thread_count(threads),
        )
        return y

    def spmm_transposed(
        self,
        values: Floats,
        dy: Floats,
        *,
        out: Floats | None = None,
        threads: int | None = None,
    ) -> Floats:
        """``dy @ W``: the gradient by x alone.

        Arguments:
            dy: ``[batch, rows]``.

        Returns:
            ``[batch, columns]``.
        """
        rows, columns = self.shape
        dy = _samples("dy", dy, rows)
        dx = _result("out", out, (len(dy), columns))
        values = _vector("values", values, self.nonzeros)
        self._native.backward(values, None, dy, dx, None, None, thread_count(threads))
        return dx

    def sddmm(self, dy: Floats, x: Floats, *, threads: int | None = None) -> Floats:
        """``dy.T @ x`` where the pattern has an entry: the gradient by the values alone.

        Arguments:
            dy: ``[batch, rows]``.
            x: ``[batch, columns]``.

        Returns:
            ``[nonzeros]``.
        """
        rows, columns = self.shape
        x = _samples("x", x, columns)
        dy = _samples("dy", dy, rows, len(x))
        result = np.empty(self.nonzeros, np.float32)
        self._native.backward(None, x, dy, None, result, None, thread_count(threads))
        return result

    def backward(
        self,
        values: Floats,
        x: Floats,
        dy: Floats,
        *,
        needs_input_grad: tuple[bool, bool, bool] = (True, True, True),
        dx: Floats | None = None,
        threads: int | None = None,
    ) -> Gradients:
        """The gradients by x, values and bias in one pass, which reads ``dy`` once for the two.

        Arguments:
            values: ``[nonzeros]``.
            x: ``[batch, columns]``.
            dy: ``[batch, rows]``.
            needs_input_grad: which of the three to compute.
            dx: where to write the gradient by x, in C or F order.
        """
        rows, columns = self.shape
        by_x, by_values, by_bias = needs_input_grad
        dy = _samples("dy", dy, rows)
        dx = _result("dx", dx, (len(dy), columns)) if by_x else None
        dvalues = np.empty(self.nonzeros, np.float32) if by_values else None
        dbias = np.empty(rows, np.float32) if by_bias else None
        self._native.backward(
            _vector("values", values, self.nonzeros) if by_x else None,
            _samples("x", x, columns, len(dy)) if by_values else None,
            dy,
            dx,
            dvalues,
            dbias,
            thread_count(threads),
        )
        return Gradients(dx, dvalues, dbias)


def _whole_numbers(name: str, array: ArrayLike, dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    given = np.asarray(array)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise InputError(
            f"{name} is {given.dtype} {list(given.shape)}, wanted whole numbers in one row"
        )
    limits = np.iinfo(dtype)
    if given.size and not limits.min <= given.min() <= given.max() <= limits.max:
        raise InputError(f"{name} holds numbers that are not {limits.dtype}")
    return np.ascontiguousarray(given, dtype)


def _vector(name: str, array: Floats, size: int) -> Floats:
    if not _is_float32(array) or array.shape != (size,):
        raise InputError(f"{name} is {_describe(array)}, wanted float32 [{size}]")
    return np.ascontiguousarray(array)


def _samples(name: str, array: Floats, features: int, batch: int | None = None) -> Floats:
    """A batch the native code reads as it is: contiguous one way or the other."""
    if (
        not _is_float32(array)
        or array.ndim != 2
        or array.shape[1] != features
        or (batch is not None and len(array) != batch)
    ):
        samples = "batch" if batch is None else batch
        raise InputError(f"{name} is {_describe(array)}, wanted float32 [{samples}, {features}]")
    return array if _is_contiguous(array) else np.asfortranarray(array)


def _result(name: str, array: Floats | None, shape: tuple[int, int]) -> Floats:
    if array is None:
        return np.empty(shape, np.float32)
    if not (_is_float32(array) and array.shape == shape and _is_contiguous(array)):
        raise InputError(
            f"{name} is {_describe(array)}, wanted float32 {list(shape)} in C or F order"
        )
    return array


def _is_contiguous(array: Floats) -> bool:
    return array.flags.c_contiguous or array.flags.f_contiguous


def _is_float32(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.float32


def _describe(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__}"
    return f"{array.dtype} {list(array.shape)}"
