"""The check of the checks: the emulator notices what a GPU would not forgive."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.emulator import FLAGS, HEADER

PROGRAM = """
#include "emulator.h"
struct Argument { float* numbers; int mode; };

// Every thread reads its neighbour's number: right with a barrier, else a matter of luck.
void shift(const Argument a) {
  __shared__ float numbers[64];
  numbers[threadIdx.x] = a.numbers[threadIdx.x];
  if (a.mode == 0) __syncthreads();
  a.numbers[threadIdx.x] = numbers[(threadIdx.x + 1) % 64];
}

void diverge(const Argument a) {
  if (a.mode == 0 && threadIdx.x == 5) return;
  if (a.mode == 1 && threadIdx.x < 32) {
    __syncthreads();
  } else if (a.mode == 2 && threadIdx.x % 2) {
    __ballot_sync(0xffffffffu, 1);
    return;
  } else {
    __syncthreads();
  }
}

void beyond(const Argument a) {
  __shared__ float few[8];
  few[threadIdx.x] = 1.0f;
  a.numbers[threadIdx.x] = few[0];
}

void sum(const Argument a) {
  float value = a.numbers[threadIdx.x];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  const unsigned votes = __ballot_sync(0xffffffffu, threadIdx.x % 3 == 0);
  a.numbers[threadIdx.x] = value + (votes >> (threadIdx.x % 32) & 1) * 1000;
}

#define RUN(name) [](const void* a) { name(*static_cast<const Argument*>(a)); }
static void (*const kernels[])(const void*) = {RUN(shift), RUN(diverge), RUN(beyond), RUN(sum)};
extern "C" const char* run(int which, const Argument* argument, unsigned seed) {
  const unsigned grid[3] = {1, 1, 1};
  return emulator::launch(kernels[which], grid, 64, 0, argument, seed);
}
"""
SHIFT, DIVERGE, BEYOND, SUM = range(4)


class Argument(ctypes.Structure):
    _fields_ = (("numbers", ctypes.c_void_p), ("mode", ctypes.c_int))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None or "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("no C++ compiler, or the sanitizer's own run")
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "bad.cpp").write_text(PROGRAM)
    command = [compiler, *FLAGS, f"-I{HEADER.parent}", str(folder / "bad.cpp")]
    subprocess.run([*command, "-o", str(folder / "bad.so")], check=True)
    return folder / "bad.so"


def run(library: Path, which: int, mode: int = 0, seed: int = 0) -> tuple[Any, str | None]:
    function = ctypes.CDLL(str(library)).run
    function.restype = ctypes.c_char_p
    numbers = np.arange(64, dtype=np.float32)
    said = function(which, ctypes.byref(Argument(numbers.ctypes.data, mode)), seed)
    return numbers, None if said is None else said.decode()


def test_barriers_make_threads_wait(library: Path) -> None:
    for seed in range(5):
        numbers, said = run(library, SHIFT, mode=0, seed=seed)
        assert said is None
        np.testing.assert_array_equal(numbers, np.roll(np.arange(64), -1))


def test_a_missing_barrier_shows_in_the_result(library: Path) -> None:
    results = {tuple(run(library, SHIFT, mode=1, seed=seed)[0].tolist()) for seed in range(5)}
    assert len(results) > 1


@pytest.mark.parametrize(
    ("mode", "says"),
    [(0, "others are done"), (1, "wait at different barriers"), (2, "wait for ever|are done")],
)
def test_barriers_that_not_all_reach_are_errors(library: Path, mode: int, says: str) -> None:
    _, said = run(library, DIVERGE, mode)
    assert said is not None and any(each in said for each in says.split("|"))


def test_shuffles_and_votes(library: Path) -> None:
    numbers, said = run(library, SUM, seed=3)
    assert said is None
    lanes = np.arange(64)
    sums = np.where(lanes < 32, sum(range(32)), sum(range(32, 64)))
    np.testing.assert_array_equal(numbers, sums + 1000 * (lanes % 3 == 0))


def test_what_goes_out_of_bounds_is_stopped(library: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.cuda.test_emulator import run, BEYOND\n"
        "run(Path(sys.argv[1]), BEYOND)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(library)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HEADER.parents[3],
    )
    assert done.returncode != 0 and "out of bounds" in done.stderr
