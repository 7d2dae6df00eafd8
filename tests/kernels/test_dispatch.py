"""Choice of instruction set and number of threads."""

import os
import subprocess
import sys

import pytest

from espalier import kernels
from espalier.errors import InputError

AVAILABLE = [name for name, _, here in kernels.instruction_sets() if here]


@pytest.fixture(autouse=True)
def _restore():
    before = kernels.instruction_set()
    yield
    kernels.use_instruction_set(before)


def test_scalar_runs_everywhere():
    assert AVAILABLE[-1] == "scalar"


def test_the_environment_or_else_the_fastest_is_in_force():
    assert kernels.instruction_set() == os.environ.get("ESPALIER_ISA", AVAILABLE[0])


@pytest.mark.parametrize("name", AVAILABLE)
def test_each_available_set_can_be_forced(name):
    kernels.use_instruction_set(name)
    assert kernels.instruction_set() == name


@pytest.mark.parametrize("name", ["", "sse9", "AVX2 ", "scalar\0"])
def test_an_unknown_set_is_refused_and_changes_nothing(name):
    before = kernels.instruction_set()
    with pytest.raises(InputError, match="scalar"):
        kernels.use_instruction_set(name)
    assert kernels.instruction_set() == before


@pytest.mark.parametrize("asked", [1, 2, 7])
def test_threads_asked_for(asked):
    assert kernels.thread_count(asked) == asked


def test_default_threads_follow_openmp():
    code = "from espalier import kernels; print(kernels.thread_count())"
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment) == b"3\n"


def test_a_forked_process_is_serial():
    code = (
        "import os; from espalier import kernels\n"
        "kernels.thread_count()\n"
        "if not os.fork(): os._exit(kernels.thread_count(5))\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert subprocess.check_output([sys.executable, "-c", code]) == b"1\n"
