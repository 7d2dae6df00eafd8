from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier import (
    FileError,
    InputError,
    MissingExtraError,
    challenge_images,
    infer,
    radixnet,
)
from espalier.generate.fourier_resize import FourierResize

OFFICIAL_PIXELS = {32: 6_374_505, 64: 25_019_051, 128: 98_858_913, 256: 392_191_985}


def whole_transform(images: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Magnitudes of the zero-padded transform of all images side by side, by its definition."""
    count, size, _ = images.shape
    strip = images.transpose(1, 0, 2).reshape(size, count * size).astype(np.float64)
    for axis, length in ((0, side), (1, side * count)):
        half = strip.shape[axis] // 2
        spectrum = np.fft.fft(strip, axis=axis)
        low, high = np.split(spectrum, [half + 1], axis=axis)
        gap = list(spectrum.shape)
        gap[axis] = length - spectrum.shape[axis]
        padded = np.concatenate([low, np.zeros(gap), high], axis=axis)
        strip = np.fft.ifft(padded, axis=axis) * (length / spectrum.shape[axis])
    return np.abs(strip).reshape(side, count, side).transpose(1, 2, 0).reshape(count, -1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 40])
@pytest.mark.parametrize("side", [28, 32, 45, 64])
def test_resizing_is_the_zero_padded_transform(count: int, side: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    expected = whole_transform(images, side)
    found = np.sqrt(FourierResize(images, side).squared_magnitudes(0, count))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_any_part_is_resized_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    resize = FourierResize(images, 10)
    np.testing.assert_allclose(
        resize.squared_magnitudes(3, 7), resize.squared_magnitudes(0, 12)[3:7], rtol=1e-9
    )


@pytest.fixture(scope="module")
def mnist_inputs(mnist_data: Path) -> sp.csr_array:
    return challenge_images(neurons=1024, count=60000, source=mnist_data)


def test_mnist_gives_the_official_number_of_pixels(mnist_inputs: sp.csr_array) -> None:
    assert mnist_inputs.shape == (60000, 1024)
    assert mnist_inputs.nnz == OFFICIAL_PIXELS[32]
    assert (mnist_inputs.data.dtype, mnist_inputs.indices.dtype) == (np.float32, np.int32)
    assert np.all(mnist_inputs.data == 1.0)


def test_mnist_gives_the_official_images(mnist_inputs: sp.csr_array, challenge_data: Path) -> None:
    text = gzip.decompress((challenge_data / "sparse-images-1024-first1200.tsv.gz").read_bytes())
    entries = np.array(text.split(), dtype=np.int64).reshape(-1, 3)
    official = sp.csr_array(
        (np.ones(len(entries), dtype=np.float32), (entries[:, 0] - 1, entries[:, 1] - 1)),
        shape=(1200, 1024),
    )
    assert (mnist_inputs[:1200] != official).nnz == 0


@pytest.mark.slow
def test_mnist_gives_the_official_number_of_pixels_at_side_64(mnist_data: Path) -> None:
    assert challenge_images(neurons=4096, source=mnist_data).nnz == OFFICIAL_PIXELS[64]


def test_fewer_images_are_the_first_ones(mnist_inputs: sp.csr_array, mnist_data: Path) -> None:
    few = challenge_images(neurons=1024, count=77, source=mnist_data)
    assert (few != mnist_inputs[:77]).nnz == 0


def test_plain_idx_files_are_read_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte", pixels)
    images = challenge_images(neurons=784, count=5, source=tmp_path)
    magnitudes = whole_transform(pixels, 28)
    assert np.array_equal(images.toarray() > 0, magnitudes > magnitudes.max() / 2)


@pytest.mark.parametrize("side", [7, 32, 64])
def test_bundled_digits_are_sparse_images(side: int) -> None:
    images = challenge_images(neurons=side**2, count=2000)
    assert images.shape == (2000, side**2)
    assert 0.10 < images.nnz / (2000 * side**2) < 0.20
    assert images.has_canonical_format
    assert np.diff(images.indptr).min() > 0


def test_as_many_bundled_digits_survive_the_challenge_network_as_of_mnist() -> None:
    images = challenge_images(neurons=1024, count=4000)
    survivors = infer(radixnet(1024, 30), images).categories
    assert 0.02 < len(survivors) / 4000 < 0.05


def test_bundled_digits_vary_with_image_and_seed() -> None:
    images = challenge_images(neurons=1024, count=4000).toarray()
    assert len(np.unique(images, axis=0)) > 3990
    assert np.array_equal(images[:10], challenge_images(neurons=1024, count=4000).toarray()[:10])
    assert not np.array_equal(images[:10], challenge_images(count=4000, seed=1).toarray()[:10])


def test_progress_runs_to_the_total() -> None:
    calls: list[tuple[int, int]] = []
    challenge_images(neurons=65536, count=9, progress=lambda *call: calls.append(call))
    assert calls[-1] == (9, 9)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scikit-learn"):
        challenge_images(count=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neurons": 1000}, "neurons is 1000, wanted the square of a side, such as 961 or 1024"),
        ({"neurons": 0}, "neurons is 0"),
        ({"count": 0}, "count is 0"),
        ({"seed": -3}, "seed is -3"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        challenge_images(**arguments)  # type: ignore[arg-type]


def test_more_images_than_the_source_holds(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 28, 28), dtype=np.uint8))
    with pytest.raises(InputError, match=r"count is 4, but .* holds only 3 images"):
        challenge_images(count=4, source=tmp_path)
    assert challenge_images(count=3, source=tmp_path).nnz == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing-here", b"", "no train-images-idx3-ubyte"),
        ("train-images-idx3-ubyte", b"", "not an IDX file"),
        ("train-images-idx3-ubyte", bytes([0, 0, 8, 1]) + bytes(12), "wanted bytes .* for images"),
        ("train-images-idx3-ubyte", bytes([0, 0, 8, 3]) + bytes(12), "0 images of 0 x 0"),
        (
            "train-images-idx3-ubyte",
            bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(784),
            "784 bytes of images, its header says 1,568",
        ),
        ("train-images-idx3-ubyte.gz", b"no gzip", "not an IDX file"),
        ("train-images-idx3-ubyte.gz", gzip.compress(bytes(100), mtime=0)[:-9], "cut short"),
    ],
)
def test_damaged_sources_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message):
        challenge_images(count=1, source=tmp_path)


def write_idx(path: Path, images: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, 3]) + np.array(images.shape, dtype=">u4").tobytes()
    path.write_bytes(header + images.tobytes())
