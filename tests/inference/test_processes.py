"""Whole processes: interrupts, forks, one OpenMP runtime, instruction sets by environment."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.instruction_sets import AVAILABLE

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="needs Linux's /proc and fork"
)

# A test run in a shell's background inherits a Ctrl-C that is ignored.
PREPARE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import espalier as esp
net = esp.random_network(256, 6)
x = np.random.default_rng(0).random((500, 256), np.float32)
"""


def run_python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints when it runs the code, without a word on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("progress", ["None", "lambda done, total: None"])
def test_an_interrupt_ends_a_long_run_and_the_process_runs_on(threads: int, progress: str) -> None:
    code = f"""
plan = esp.compile(net, threads={threads})
again = plan.run(x).activations
deep = esp.compile(esp.Network([net[1]] * 2000), merge=False, fold=False, threads={threads})
print("ready", flush=True)
try:
    deep.run(np.tile(x, (100, 1)), "none", progress={progress})
    print("never interrupted")
except KeyboardInterrupt:
    print((plan.run(x).activations == again).all())
"""
    with subprocess.Popen(
        [sys.executable, "-c", PREPARE + code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert (output.strip(), process.returncode) == ("True", 0)


def test_a_forked_child_of_a_process_that_ran_runs_too() -> None:
    code = """
plan = esp.compile(net, threads=2)
expected = plan.run(x).activations
child = os.fork()
if child == 0:
    result = plan.run(x, threads=2)
    fresh = esp.infer(net, x, threads=2)
    same = (result.activations == expected).all() and (fresh.activations == expected).all()
    os._exit(0 if same and result.report().threads == 1 else 7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print((plan.run(x, threads=2).activations == expected).all())
"""
    assert run_python(code).split() == ["0", "True"]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("first", ["torch", "espalier"])
def test_torch_and_espalier_share_one_openmp_runtime(first: str) -> None:
    code = """
import torch
torch.ones(64, 64) @ torch.ones(64, 64)
esp.infer(net, x, threads=2)
torch.set_num_threads(1)
print(esp.compile(net).run(x).report().threads)
maps = open("/proc/self/maps").read().split()
runtimes = ("libgomp", "libiomp", "libomp")
print(len({path for path in maps if os.path.basename(path).startswith(runtimes)}))
"""
    before = "import torch\n" if first == "torch" else ""
    done = subprocess.run(
        [sys.executable, "-c", before + PREPARE + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    threads, runtimes = done.stdout.split()
    assert int(runtimes) == 1
    assert int(threads) == 1  # OpenMP's default is what torch was told


@pytest.mark.parametrize("name", AVAILABLE)
def test_the_environment_forces_an_instruction_set(name: str) -> None:
    code = "print(esp.infer(net, x).report().instruction_set)"
    assert run_python(code, ESPALIER_ISA=name) == name


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx512 "])
def test_an_unknown_instruction_set_in_the_environment_is_named(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import espalier"],
        env={**os.environ, "ESPALIER_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InputError" in last and repr(name) in last and "scalar (any processor)" in last


def test_a_plan_still_held_at_exit_is_nothing_to_print_about() -> None:
    assert run_python("plan = esp.compile(net); sys.modules['kept'] = [plan, plan.run]") == ""
