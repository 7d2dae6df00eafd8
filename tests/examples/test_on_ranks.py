"""The tutorial runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed.conftest import run_ranks as run_ranks  # fixtures
from tests.distributed.conftest import start_ranks as start_ranks

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "on_ranks.py"


@pytest.mark.parametrize("ranks", [2, 4])
def test_on_digits(run_ranks, ranks: int) -> None:
    pytest.importorskip("sklearn")
    done = run_ranks(EXAMPLE, ranks)
    assert done.returncode == 0, done.stderr
    categories, first, last = done.stdout.splitlines()
    assert " categories, " in categories and " words in " in categories
    assert float(last.split()[-1]) < float(first.split()[-1])
