"""`espalier info` tells the truth about this machine and starts without the heavy packages."""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import espalier as esp
from espalier import kernels
from espalier.cli import info

AVAILABLE = [name for name, _, here in kernels.instruction_sets() if here]
ABSENT = [name for name, _, here in kernels.instruction_sets() if not here]
HEAVY = ("torch", "sklearn", "matplotlib", "graphblas", "pandas")


def test_json_names_machine_and_versions(espalier):
    facts = json.loads(espalier("info", "--json").stdout)
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert facts["python"] == platform.python_version()
    assert facts["instruction_set"]["name"] == kernels.instruction_set()
    assert [entry["name"] for entry in facts["instruction_sets"] if entry["available"]] == AVAILABLE
    assert facts["threads"] == kernels.thread_count()
    assert facts["versions"]["espalier"] == esp.__version__
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["memory_bytes"] > 2**28


def test_table_says_what_runs_and_why(espalier):
    shown = espalier("info").stdout
    assert f"{kernels.instruction_set()}, " in shown
    assert "numpy" in shown


@pytest.mark.parametrize("name", AVAILABLE)
def test_environment_forces_an_instruction_set(espalier_process, name):
    facts = json.loads(espalier_process("info", "--json", ESPALIER_ISA=name).stdout)
    assert facts["instruction_set"] == {"name": name, "reason": "forced by ESPALIER_ISA"}


@pytest.mark.parametrize("name", ["sse9", *ABSENT])
def test_environment_with_an_unavailable_instruction_set_is_refused(espalier_process, name):
    outcome = espalier_process("info", ESPALIER_ISA=name)
    assert outcome.returncode != 0
    assert outcome.stdout == ""
    message = outcome.stderr.splitlines()[-1]
    assert repr(name) in message
    assert all(available in message for available in AVAILABLE)


def test_native_kernels_bring_exactly_one_openmp_runtime():
    code = "import espalier.kernels; from espalier.cli import info; print(info.openmp_runtimes())"
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.count("gomp") == 1


def test_openmp_pattern_finds_every_kind_of_runtime():
    maps = (
        "7f00 r-xp 00 fe:00 1  /opt/torch/lib/libgomp-a34b3233.so.1\n"
        "7f01 r-xp 00 fe:00 2  /usr/lib/libiomp5.so\n"
        "7f02 r-xp 00 fe:00 3  /usr/lib/libomp.so.5\n"
        "7f03 r-xp 00 fe:00 4  /usr/lib/libcompat.so.5\n"
    )
    assert len(info.OPENMP.findall(maps)) == 3


@pytest.mark.parametrize("code", ["import espalier", "import espalier.cli"])
def test_import_leaves_heavy_packages_alone(code):
    heavy = HEAVY + (("typer", "rich") if code == "import espalier" else ())
    check = f"{code}; import sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "[]"
