"""What commands write: verdicts, batches and numbers."""

import io

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from espalier.cli import arrays, format
from espalier.cli.expected_categories import compare
from espalier.errors import FileError, InputError

SAMPLES = st.sets(st.integers(0, 99))


def sorted_array(samples: set[int]) -> np.ndarray:
    return np.array(sorted(samples), dtype=np.int64)


@given(SAMPLES, SAMPLES, st.integers(0, 100))
def test_verdict_counts_both_kinds_of_difference(found, listed, samples):
    found = {sample for sample in found if sample < samples}
    wanted = {sample for sample in listed if sample < samples}
    verdict = compare(sorted_array(found), sorted_array(listed), samples)
    assert set(verdict.missing) == wanted - found
    assert set(verdict.extra) == found - wanted
    assert verdict.passed == (found == wanted)
    assert str(verdict).startswith("PASSED" if found == wanted else "FAILED")


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_batches_read_back(tmp_path, make):
    batch = np.array([[0.0, 1.5], [0.0, 0.0], [32.0, 0.0]], dtype=np.float32)
    arrays.save_batch(tmp_path / "batch.npy", make(batch))
    arrays.save_batch(tmp_path / "batch.npz", make(batch))
    assert np.array_equal(np.load(tmp_path / "batch.npy"), batch)
    assert np.array_equal(sp.load_npz(tmp_path / "batch.npz").toarray(), batch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch.npy", "batch.npz"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "batch.npy"
    target.write_bytes(b"what was there")

    def full_disk(file: io.BufferedWriter, _batch: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(FileError, match=r"batch\.npy: .*No space left"):
        arrays.save_batch(target, np.zeros((1, 1)))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"what was there"]


def test_targets_that_cannot_be_written_are_refused(tmp_path):
    for target in (tmp_path, tmp_path / "missing" / "batch.npy"):
        with pytest.raises(FileError, match="folder"):
            arrays.check_target(target)
    with pytest.raises(FileError, match=r"\.npy or \.npz"):
        arrays.check_target(tmp_path / "batch.csv", arrays.ENDINGS)


@given(st.integers(1, 2**50))
def test_sizes_in_bytes_read_back(size):
    assert format.parse_bytes(str(size)) == size
    assert format.parse_bytes(f"{size} KiB") == size * 1024


@pytest.mark.parametrize(
    "text", ["", "GiB", "4 apples", "-4GiB", "0", "0.1B", "4GiB2", "1e9", "inf"]
)
def test_malformed_sizes_are_refused(text):
    with pytest.raises(InputError, match="memory size"):
        format.parse_bytes(text)


@given(st.floats(0.0, 1e9))
def test_durations_keep_three_digits_and_a_unit(value):
    assert format.seconds(value).split()[1] in ("us", "ms", "s", "min", "h")
