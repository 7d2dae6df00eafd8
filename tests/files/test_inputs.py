"""Inputs, images, labels and category lists, good and bad."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import espalier as esp
from espalier import FileError, InputError


def idx(shape: tuple[int, ...], content: bytes, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}i", 0, 0, kind, len(shape), *shape) + content


def test_mnist(mnist_data: Path) -> None:
    images = esp.load_images(mnist_data / "t10k-images-idx3-ubyte.gz")
    labels = esp.load_labels(mnist_data / "t10k-labels-idx1-ubyte.gz")
    assert (images.shape, images.dtype) == ((10_000, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((10_000,), np.int64)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    inputs = esp.load_inputs(mnist_data / "t10k-images-idx3-ubyte.gz", width=784)
    assert isinstance(inputs, np.ndarray)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, images.reshape(10_000, 784))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x08", "not an IDX file"),
        (b"1 1 1 and more text", "not an IDX file"),
        (idx((1, 2, 2), b"abcd", kind=13), "type 0x0d"),
        (idx((4,), b"abcd") + bytes(12), "1 dimensions"),
        (idx((1, -2, 2), b"abcd"), "negative size"),
        (idx((1, 2, 2), b"abc"), "holds 3 bytes of images, its header says 4"),
        (idx((1, 2, 2), b"abcde"), "holds more bytes"),
        (idx((2**31 - 1, 2**31 - 1, 2**31 - 1), b"abcd"), "holds 4 bytes"),
        (gzip.compress(idx((1, 2, 2), b"abcd"), mtime=0)[:-9], "cut short"),
    ],
)
def test_bad_idx(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(FileError, match=message):
        esp.load_images(tmp_path / "images")


def test_numpy_and_scipy_files(tmp_path: Path) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    np.save(tmp_path / "x.npy", np.asfortranarray(dense))
    sp.save_npz(tmp_path / "x.npz", sp.coo_array(dense))
    loaded = esp.load_inputs(tmp_path / "x.npy", width=3, samples=2)
    assert isinstance(loaded, np.ndarray)
    assert loaded.flags.c_contiguous
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, dense)
    sparse = esp.load_inputs(tmp_path / "x.npz")
    assert sparse.dtype == np.float32
    np.testing.assert_array_equal(sparse.toarray(), dense)
    with pytest.raises(InputError, match="has width 3, wanted 4"):
        esp.load_inputs(tmp_path / "x.npz", width=4)
    with pytest.raises(InputError, match="has samples 2, wanted 1"):
        esp.load_inputs(tmp_path / "x.npy", samples=1)


def test_bad_numpy_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for array, message in (
        (np.zeros(3), r"wanted numbers \[samples, width\]"),
        (np.array([["a"]]), "wanted numbers"),
        (np.array([[1.0, np.nan]]), "not finite"),
        (np.array([[1e300]]), "not finite"),
    ):
        with path.open("wb") as file:
            np.save(file, array)
        with pytest.raises(FileError, match=message):
            esp.load_inputs(path)
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        whole[:20],
        whole.replace(b"(1, 1)", b"(1, 1" + b"0" * 12 + b")", 1),
        b"PK\x03\x04 no zip",
    ):
        path.write_bytes(content)
        with pytest.raises(FileError, match=str(path)):
            esp.load_inputs(path)
    np.savez(tmp_path / "y.npz", a=np.zeros(3))
    with pytest.raises(FileError, match="no sparse matrix"):
        esp.load_inputs(tmp_path / "y.npz")


def test_npz_with_columns_out_of_range(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz",
        format=b"csr",
        shape=np.array([1, 2]),
        data=np.ones(1),
        indices=np.array([7]),
        indptr=np.array([0, 1]),
    )
    with pytest.raises(FileError, match="no sparse matrix"):
        esp.load_inputs(tmp_path / "x.npz")


def test_text_inputs(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("2\t3\t0.5\n2\t1\t1\n4\t1\t1\n")
    inputs = esp.load_inputs(path, width=4, samples=5)
    assert inputs.shape == (5, 4)
    assert inputs.toarray()[1].tolist() == [1, 0, 0.5, 0]
    assert esp.load_inputs(path).shape == (4, 3)
    path.write_text("1 2\n2 1\n")
    assert esp.load_inputs(path).toarray().tolist() == [[0, 1], [1, 0]]
    path.write_text("")
    assert esp.load_inputs(path, width=3, samples=2).nnz == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 4 1\n", r"line 1: index 4 lies outside 1 \.\.\. 3"),
        ("1 1 1\n3 1 1\n", r"line 2: index 3 lies outside 1 \.\.\. 2"),
        ("0 1 1\n", "line 1: index 0"),
        ("1 1 inf\n", "line 1: value 'inf'"),
        ("1 2 1\n1 2 1\n", "line 2: the entry 1 2 appears twice"),
    ],
)
def test_bad_text_inputs(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text(text)
    with pytest.raises(FileError, match=message):
        esp.load_inputs(tmp_path / "x.tsv", width=3, samples=2)


def test_empty_and_absent_inputs(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes(b"")
    with pytest.raises(FileError, match="is empty"):
        esp.load_inputs(tmp_path / "x.tsv", width=3)
    with pytest.raises(FileError, match="does not exist"):
        esp.load_inputs(tmp_path / "absent")
    with pytest.raises(InputError, match="width is -1"):
        esp.load_inputs(tmp_path / "x.tsv", width=-1)
    with pytest.raises(FileError, match="is a folder, wanted a file"):
        esp.load_inputs(tmp_path)


def test_progress_counts_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d 1 1\n" % row for row in range(1, 90_000))))
    seen: list[tuple[int, int]] = []
    esp.load_inputs(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (path.stat().st_size,) * 2


@given(numbers=st.lists(st.integers(0, 2**40), unique=True))
def test_categories_round_trip(numbers: list[int], tmp_path: Path) -> None:
    esp.save_categories(numbers, tmp_path / "c.tsv")
    assert esp.load_categories(tmp_path / "c.tsv").tolist() == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1\n0\n", "line 2: '0' lies below 1"),
        (b"1\n-4\n", "line 2: '-4' lies below 1"),
        (b"1\nx\n", "line 2: 'x' is not an integer"),
        (b"1\n2 3\n", "line 2: '2 3' is not an integer"),
        (b"1.5\n", "line 1: '1.5' is not an integer"),
        (b"1\n\n2\n", "line 2: is blank"),
        (b"99999999999999999999\n", "line 1: .* too large"),
        (b"5\n6\n5\n", "lists number 5 more than once"),
    ],
)
def test_bad_categories(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_bytes(text)
    with pytest.raises(FileError, match=message):
        esp.load_categories(tmp_path / "c.tsv")


def test_bad_category_arguments(tmp_path: Path) -> None:
    for categories in ([-1], [0.5], [[1]], [True]):
        with pytest.raises(InputError):
            esp.save_categories(categories, tmp_path / "c.tsv")
    assert not (tmp_path / "c.tsv").exists()
