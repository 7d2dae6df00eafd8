from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.harness.machine import measure_machine
from espalier import kernels


def test_the_machine_is_described_in_json_values() -> None:
    machine = measure_machine(threads=1)
    assert machine.threads == 1 <= machine.cores
    assert machine.instruction_set == kernels.instruction_set()
    assert machine.multiply_adds > 0.0 and machine.bandwidth > 0.0
    assert machine.versions["numpy"] == np.__version__
    assert json.loads(json.dumps(machine.to_dict())) == machine.to_dict()


def test_share_of_peak() -> None:
    machine = measure_machine(threads=1)
    assert machine.share_of_peak(machine.multiply_adds, seconds=2.0) == pytest.approx(0.5)
