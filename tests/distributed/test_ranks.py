"""Inference and training on real processes, against one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed.conftest import answers


@pytest.mark.parametrize(("ranks", "parts"), [(2, 2), (3, 3), (4, 2)])
def test_ranks_infer_what_one_process_does_in_equal_bits_each_time(run_ranks, ranks, parts):
    first = answers(run_ranks("infer.py", ranks, parts))

    bad = first["found"].pop("bad")
    assert "x[0, 0] is nan" in bad["nan"]
    assert "beyond what float32 holds" in bad["overflow"]
    assert "beyond what float32 holds" in bad["hidden"]
    assert "x[2999, 5] is nan" in bad["late"]
    assert bad["then"] < 1e-4
    for key, (gap, same_categories, _) in first["found"].items():
        assert gap < 1e-4, key
        assert same_categories, key
    assert first["found"]["random shared False none"][2] > 0
    merged, plain = (first["found"][f"challenge shared {m} none"][2] for m in (True, False))
    assert merged < plain
    if ranks == 2:
        assert answers(run_ranks("infer.py", ranks, parts))["digest"] == first["digest"]


@pytest.mark.parametrize(("ranks", "parts"), [(1, 1), (2, 2), (4, 4), (4, 2)])
def test_ranks_train_as_one_process_does(run_ranks, tmp_path, ranks, parts):
    done = answers(run_ranks("train.py", ranks, parts, tmp_path / "training"))

    np.testing.assert_allclose(done["losses"], done["alone"], rtol=1e-5)
    assert done["gap"] < 1e-4


def test_two_runs_end_with_equal_bits(run_ranks, tmp_path):
    one, two = (answers(run_ranks("train.py", 2, 2, tmp_path / name)) for name in ("one", "two"))

    assert one["losses"] == two["losses"]
    assert one["model"] == two["model"]
