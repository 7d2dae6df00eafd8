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


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'espalier' has no attribute 'prune'"):
        _ = esp.prune
