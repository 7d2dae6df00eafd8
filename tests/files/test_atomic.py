"""A write that fails leaves what was there, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import espalier as esp
from espalier import FileError, Layer, LayerSource, Network

FORMATS = ["net", "net.mtx", "net.tar.gz", "net.safetensors"]


class Failing(LayerSource):
    """Two layers, then what a test wants to happen."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __len__(self) -> int:
        return 3

    def shape(self, index: int) -> tuple[int, int]:
        return (1, 1)

    def layer(self, index: int) -> Layer:
        if index == 2:
            raise self._error
        return Layer([[9.0]], 0.0)


@pytest.fixture
def old() -> Network:
    return Network([Layer([[1.0]], -0.5), Layer([[2.0]], -0.5)])


def files_below(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(5, "broken")])
def test_interrupted_saves(name: str, error: BaseException, old: Network, tmp_path: Path) -> None:
    path = tmp_path / name
    esp.save(old, path)
    before = list(files_below(tmp_path))
    wanted = FileError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted):
        esp.save(Network(Failing(error)), path)
    assert list(files_below(tmp_path)) == before
    assert [layer.values.tolist() for layer in esp.load(path)] == [[1.0], [2.0]]


FILL_THE_DISK = """
import resource, signal, sys
import numpy as np, scipy.sparse as sp
import espalier as esp

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes beyond the limit then fail as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
rng = np.random.default_rng(0)
values = rng.random((100, 100)).astype(np.float32)
try:
    if sys.argv[1].endswith("categories"):
        esp.save_categories(np.arange(9000), sys.argv[1])
    else:
        esp.save(esp.Network([esp.Layer(sp.csr_array(values), 0.0)] * 2), sys.argv[1])
except esp.FileError as error:
    print(error)
"""


@pytest.mark.parametrize("name", [*FORMATS, "categories"])
def test_full_disk(name: str, old: Network, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "categories":
        esp.save_categories([3], path)
    else:
        esp.save(old, path)
    before = list(files_below(tmp_path))
    result = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert f"cannot write {path}" in result.stdout, result.stderr
    assert list(files_below(tmp_path)) == before
    if name == "categories":
        assert esp.load_categories(path).tolist() == [3]
    else:
        assert len(esp.load(path)) == 2


def test_a_folder_of_other_files_is_not_replaced(old: Network, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match=r"'thesis\.tex', which is no part of a network"):
        esp.save(old, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="is a file"):
        esp.save(old, tmp_path / "file")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_paths_that_cannot_be_written(old: Network, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot write"):
        esp.save(old, tmp_path / "absent" / "net.safetensors")
    with pytest.raises(FileError, match="cannot write"):
        esp.save(old, tmp_path / "absent" / "net")
    with pytest.raises(FileError, match="no suffix of a network"):
        esp.save(old, tmp_path / "net.pt")


def test_large_layers_are_written_in_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = sp.random_array((700, 1000), density=0.9, rng=rng, dtype=np.float32, format="csr")
    network = Network([Layer(weights, rng.random(700), "relu", 1.5)])
    esp.save(network, tmp_path / "net")
    assert esp.load(tmp_path / "net")[0] == network[0]
