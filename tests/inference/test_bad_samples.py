"""Samples that do not fit, or are damaged, get an InputError that says what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import espalier as esp
from espalier.inference import STRATEGIES, StrategyPlan

WIDTH = 6
NET = esp.Network([esp.Layer(np.eye(WIDTH), -0.5) for _ in range(3)])
PLANS = {
    "plan": esp.compile(NET),
    "streamed": esp.compile(NET, memory=1),
    **{name: StrategyPlan(NET, name) for name in STRATEGIES},
}

every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def dense(value: Any = 1.0, at: tuple[int, int] = (2, 3)) -> np.ndarray:
    x = np.ones((5, WIDTH))
    x[at] = value
    return x


def damaged(**arrays: Any) -> Any:
    """A sound CSR matrix with some of its arrays replaced behind scipy's back."""
    x = sp.csr_array(np.ones((3, WIDTH), np.float32))
    for name, array in arrays.items():
        setattr(x, name, np.asarray(array, getattr(array, "dtype", np.int32)))
    return x


OFFSETS = [0, 6, 12, 18]
COLUMNS = [*range(WIDTH)] * 3

UNFIT = {
    "nothing": (None, "object"),
    "text": ("seven", "U"),
    "texts": ([["a"] * WIDTH], "U"),
    "numbers as text": (np.full((2, WIDTH), "1.0"), "U"),
    "ragged": ([[1.0], [1.0, 2.0]], "list"),
    "objects": (np.ones((2, WIDTH), object), "object"),
    "complex": (np.ones((2, WIDTH), complex), "complex128"),
    "complex csr": (sp.csr_array(np.ones((2, WIDTH), complex)), "complex128"),
    "dates": (np.zeros((2, WIDTH), "datetime64[s]"), "datetime64"),
    "records": (np.zeros((2, WIDTH), [("a", "f4")]), "wanted real numbers"),
    "a number": (3.0, r"shape \(\)"),
    "one sample": (np.ones(WIDTH), r"shape \(6,\).*x\[None, :\]"),
    "one sparse sample": (sp.coo_array(np.ones(WIDTH)), r"shape \(6,\)"),
    "three axes": (np.ones((2, 2, WIDTH)), r"shape \(2, 2, 6\)"),
    "three sparse axes": (sp.coo_array(np.ones((2, 2, WIDTH))), r"shape \(2, 2, 6\)"),
    "narrow": (np.ones((2, WIDTH - 1)), "5 columns, the network reads 6"),
    "wide csr": (sp.csr_array((2, WIDTH + 1)), "7 columns, the network reads 6"),
    "transposed": (np.ones((WIDTH, 2)), "transpose"),
    "nan": (dense(np.nan), r"x\[2, 3\] is nan"),
    "inf": (dense(np.inf, (4, 5)), r"x\[4, 5\] is inf"),
    "-inf": (dense(-np.inf, (0, 0)), r"x\[0, 0\] is -inf"),
    "too large": (dense(1e39), r"x\[2, 3\] is inf.*float32"),
    "nan in csr": (sp.csr_array(dense(np.nan)), r"x\[2, 3\] is nan"),
    "too large in csc": (sp.csc_array(dense(-1e300)), r"x\[2, 3\] is -inf"),
    "offsets fall": (damaged(indptr=[0, 12, 6, 18]), "fall at row 1"),
    "offsets negative": (damaged(indptr=[0, -6, 12, 18]), "fall at row 0"),
    "offsets too long": (damaged(indptr=[*OFFSETS, 18]), "5 row offsets.*wanted 4"),
    "offsets too short": (damaged(indptr=OFFSETS[:-1]), "3 row offsets.*wanted 4"),
    "no offsets": (damaged(indptr=[]), "0 row offsets"),
    "offsets start late": (damaged(indptr=[1, 6, 12, 18]), "wanted 4 from 0"),
    "offsets past the end": (damaged(indptr=[0, 6, 12, 19]), "at most 18"),
    "offsets not whole": (damaged(indptr=np.float32(OFFSETS)), "float32 offsets"),
    "columns not whole": (damaged(indices=np.float32(COLUMNS)), "float32 columns"),
    "columns missing": (damaged(indices=COLUMNS[:-1]), "at most 17"),
    "values missing": (damaged(data=np.ones(17, np.float32)), "at most 17"),
    "column too large": (damaged(indices=[*COLUMNS[:-1], 6]), "column index 6 in row 2.*0 ... 5"),
    "column negative": (damaged(indices=[-1, *COLUMNS[1:]]), "column index -1 in row 0"),
    "column past int32": (
        damaged(indices=np.int64([2**32, *COLUMNS[1:]]), indptr=np.int64(OFFSETS)),
        "column index 4294967296 in row 0",
    ),
}


@every_plan
@pytest.mark.parametrize(("x", "says"), UNFIT.values(), ids=UNFIT)
def test_unfit_samples_are_refused(plan: Any, x: Any, says: str) -> None:
    with pytest.raises(esp.InputError, match=says):
        plan.run(x)


FIT = {
    "list": [[2.0] * WIDTH] * 3,
    "int8": np.full((3, WIDTH), 2, np.int8),
    "uint64": np.full((3, WIDTH), 2, np.uint64),
    "float16": np.full((3, WIDTH), 2, np.float16),
    "big-endian": np.full((3, WIDTH), 2, ">f4"),
    "read-only": np.broadcast_to(np.float32(2.0), (3, WIDTH)),
    "unaligned": np.frombuffer(
        b"." + np.full((3, WIDTH), 2, np.float32).tobytes(), np.float32, offset=1
    ).reshape(3, WIDTH),
    "spmatrix": sp.csr_matrix(np.full((3, WIDTH), 2.0)),
    "lil": sp.lil_array(np.full((3, WIDTH), 2.0)),
    "spare room": damaged(
        data=np.full(20, 2.0, np.float32), indices=[*COLUMNS, -7, 99], indptr=OFFSETS
    ),
    "spare room not finite": damaged(
        data=np.float32([2.0] * 18 + [np.nan]), indices=[*COLUMNS, 0], indptr=OFFSETS
    ),
    "strided values": damaged(data=np.full(36, 2.0, np.float32)[::2]),
    "big-endian csr": damaged(
        data=np.full(18, 2.0, np.float32),
        indices=np.array(COLUMNS, ">i4"),
        indptr=np.array(OFFSETS, ">i4"),
    ),
    "mixed index types": damaged(data=np.full(18, 2.0, ">f8"), indices=np.uint8(COLUMNS)),
}


@every_plan
@pytest.mark.parametrize("x", FIT.values(), ids=FIT)
def test_every_real_matrix_fits(plan: Any, x: Any) -> None:
    result = plan.run(x, output="dense")
    np.testing.assert_array_equal(result.activations, np.full((3, WIDTH), 0.5))


def test_booleans_are_numbers() -> None:
    x = np.eye(WIDTH, dtype=bool)
    np.testing.assert_array_equal(PLANS["plan"].run(x).categories, np.empty(0))


@every_plan
@pytest.mark.parametrize("threads", [0, -1, 1025, 2.0, "2", [1]])
def test_bad_thread_counts_are_refused(plan: Any, threads: Any) -> None:
    with pytest.raises(esp.InputError, match="threads is"):
        plan.run(dense(), threads=threads)
    with pytest.raises(esp.InputError, match="threads is"):
        esp.compile(NET, threads=threads)
    with pytest.raises(esp.InputError, match="threads is"):
        StrategyPlan(NET, "buffer", threads=threads)


@every_plan
@pytest.mark.parametrize("output", ["", "coo", None, 3])
def test_unknown_outputs_are_refused(plan: Any, output: Any) -> None:
    with pytest.raises(esp.InputError, match="output is"):
        plan.run(dense(), output=output)


@pytest.mark.parametrize("filter", ["", "Zero", None, 3, ["zero"]])
def test_unknown_filters_are_refused(filter: Any) -> None:
    with pytest.raises(esp.InputError, match=r"filter is .*none, zero, unique"):
        PLANS["plan"].run(dense(), filter=filter)


@pytest.mark.parametrize("strategy", ["", "Buffer", None])
def test_unknown_strategies_are_refused(strategy: Any) -> None:
    with pytest.raises(esp.InputError, match=r"strategy is .*buffer, no-buffer, filter"):
        StrategyPlan(NET, strategy)


@pytest.mark.parametrize("memory", [0, -1, 0.5, "1G", float("nan")])
def test_bad_memory_budgets_are_refused(memory: Any) -> None:
    with pytest.raises(esp.InputError, match="memory is"):
        esp.compile(NET, memory=memory)


@pytest.mark.parametrize("network", [None, "net", [NET[0]], NET[0]])
def test_what_is_no_network_is_refused(network: Any) -> None:
    with pytest.raises(esp.InputError, match=r"wanted espalier\.Network"):
        esp.compile(network)
    with pytest.raises(esp.InputError, match=r"wanted espalier\.Network"):
        StrategyPlan(network, "buffer")


@every_plan
@pytest.mark.parametrize("layers", [1, 3, 12])
def test_activations_that_overflow_are_refused(plan: Any, layers: int) -> None:
    huge = esp.Network([esp.Layer(3e38 * np.eye(2), 0.0) for _ in range(layers)])
    other = (
        esp.compile(huge, memory=plan.memory)
        if isinstance(plan, esp.Plan)
        else StrategyPlan(huge, plan.strategy)
    )
    with pytest.raises(esp.InputError, match="activations grow beyond"):
        other.run(np.full((3, 2), 3e38, np.float32))


def test_merged_weights_that_overflow_are_refused() -> None:
    huge = esp.Network([esp.Layer(np.full((2, 2), 3e38), 0.0) for _ in range(2)])
    with pytest.raises(esp.NetworkError, match="merge=False"):
        esp.compile(huge)
    x = np.full((1, 2), 1e-38, np.float32)
    with pytest.raises(esp.InputError, match="activations grow beyond"):
        esp.compile(huge, merge=False).run(x)
