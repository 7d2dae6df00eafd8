"""torch is optional: named when it is missing, and imported only when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import espalier as esp


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    ).stdout.split()


def test_import_espalier_imports_no_torch():
    program = """
import sys, espalier
print("torch" in sys.modules, "espalier.nn" in sys.modules)
espalier.accelerate
print("torch" in sys.modules)
"""
    assert run(program) == ["False", "False", "True"]


@pytest.mark.parametrize("name", ["accelerate", "model_report"])
def test_without_torch_the_extra_is_named(name):
    program = f"""
import sys
sys.modules["torch"] = None
import espalier
try:
    espalier.{name}
except espalier.MissingExtraError as error:
    print(error)
"""
    assert "'torch>=2.5'" in run(program)


@pytest.mark.parametrize("name", ["patterns", "updaters", "networks"])
@pytest.mark.parametrize(
    "statement",
    [
        "import espalier.nn.{name}",
        "from espalier.nn import {name}",
        "from espalier.nn.{name} import *",
    ],
)
def test_modules_are_imported_by_their_public_paths(statement, name):
    run(statement.format(name=name))


def test_public_paths_lead_to_the_same_modules():
    program = """
import espalier.nn.patterns, espalier.nn.updaters
from espalier.nn import patterns, updaters
from espalier.nn.updaters import RigL
print(espalier.nn.patterns is patterns, updaters.RigL is RigL is espalier.nn.updaters.RigL)
"""
    assert run(program) == ["True", "True"]


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'espalier' has no attribute 'prune'"):
        _ = esp.prune
