"""The official Graph Challenge files, and layer files as others write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import espalier as esp
from espalier import FileError, InputError


def write(folder: Path, **files: str) -> Path:
    """Layer files ``n2_l1="..."`` as ``n2-l1.tsv`` in a folder."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / (name.replace("_", "-") + ".tsv")).write_text(text)
    return folder


def test_official_network(challenge_data: Path) -> None:
    seen: list[tuple[int, int]] = []
    network = esp.load(
        challenge_data / "neuron1024.tar.gz",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(network) == 120
    assert network.connections == 120 * 32768
    for layer in network:
        assert layer.weights.shape == (1024, 1024)
        assert (np.diff(layer.row_offsets) == 32).all()
        assert (np.bincount(layer.column_indices, minlength=1024) == 32).all()
        assert (layer.values == 1 / 16).all()
        assert (layer.bias == np.float32(-0.3)).all()
        assert (layer.activation, layer.clip) == ("relu", 32.0)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_official_first_layer_is_the_butterfly(challenge_data: Path) -> None:
    """Output 0 of layer 1 reads the inputs that equal 0 or 1 modulo 64."""
    layer = esp.load(challenge_data / "neuron1024.tar.gz", layers=1)[0]
    columns = layer.column_indices[:32]
    assert (np.sort(columns % 64) == np.repeat([0, 1], 16)).all()


def test_official_categories(challenge_data: Path, tmp_path: Path) -> None:
    categories = esp.load_categories(challenge_data / "neuron1024-l120-categories.tsv")
    assert len(categories) == 1812
    assert categories[0] == 286
    assert categories.dtype == np.int64
    esp.save_categories(categories, tmp_path / "categories.tsv")
    truth = (challenge_data / "neuron1024-l120-categories.tsv").read_text().split()
    assert (tmp_path / "categories.tsv").read_text().split() == truth


def test_official_images(challenge_data: Path) -> None:
    path = challenge_data / "sparse-images-1024-first1200.tsv.gz"
    images = esp.load_inputs(path, width=1024)
    assert images.shape == (1200, 1024)
    assert images.nnz == 122_713
    assert (images.data == 1).all()
    assert images.dtype == np.float32
    assert esp.load_inputs(path, width=1024, samples=60_000).shape == (60_000, 1024)


def test_width_comes_from_the_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", n5_l1="1\t2\t0.5\n")
    assert esp.load(folder, bias=0.0).shape(0) == (5, 5)


def test_width_comes_from_the_largest_index_where_all_agree(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", a_l1="3 1 1\n1 3 1\n", a_l2="1 1 1\n3 3 1\n")
    assert esp.load(folder, bias=0.0).shape(1) == (3, 3)
    (folder / "a-l2.tsv").write_text("1 2 1\n")
    with pytest.raises(FileError, match="neurons="):
        esp.load(folder, bias=0.0)
    with pytest.raises(InputError, match="neurons="):
        esp.load(folder, bias=0.0, lazy=True)


def test_widths_of_rectangular_layers(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", a_l1="3 1 1\n", a_l2="1 4 1\n2 1 5\n")
    network = esp.load(folder, bias=[0.0, [1, 2, 3, 4]], neurons=[3, 2, 4], clip=1.0)
    assert [network.shape(k) for k in range(2)] == [(2, 3), (4, 2)]
    assert network[1].bias.tolist() == [1, 2, 3, 4]
    assert network[1].weights.toarray().tolist() == [[0, 5], [0, 0], [0, 0], [1, 0]]
    assert network[0].clip == 1.0
    with pytest.raises(InputError, match="neurons lists 2 widths"):
        esp.load(folder, bias=0.0, neurons=[3, 2])
    with pytest.raises(FileError, match=r"a-l2.tsv, line 1: index 4 lies outside 1 \.\.\. 3"):
        esp.load(folder, bias=0.0, neurons=[3, 2, 3])


def test_layers_are_ordered_by_number_plain_or_gzip(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", **{f"n9_l{k}": f"{k} {k} {k}\n" for k in (2, 9, 1, 3)})
    for k in range(4, 9):
        with gzip.open(folder / f"n9-l{k}.tsv.gz", "wt") as file:
            file.write(f"{k}\t{k}\t{k}")
    (folder / "neuron9-l9-categories.tsv").write_text("1\n")
    network = esp.load(folder, bias=0.0)
    assert [layer.values.tolist() for layer in network] == [[k] for k in range(1, 10)]


def test_unsorted_lines_and_line_ends_of_windows(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", n3_l1="3 2 1\r\n1  2 +2e0 \r\n2\t3\t-.5\r\n1 1 4\r\n\r\n")
    assert esp.load(folder, bias=0.0)[0].weights.toarray().tolist() == [
        [4, 0, 0],
        [2, 0, 1],
        [0, -0.5, 0],
    ]


def test_one_file_is_a_network_of_one_layer(tmp_path: Path) -> None:
    write(tmp_path, n2_l1="1 2 3\n")
    assert esp.load(tmp_path / "n2-l1.tsv", bias=-1.0)[0].weights.toarray().tolist() == [
        [0, 0],
        [3, 0],
    ]


def test_bias_is_the_challenges_only_by_name(tmp_path: Path) -> None:
    text = "1 1 1\n"
    with pytest.raises(InputError, match="bias="):
        esp.load(write(tmp_path / "net", n4096_l1=text))
    layer = esp.load(write(tmp_path / "neuron4096", n4096_l1=text))[0]
    assert (layer.bias[0], layer.clip) == (np.float32(-0.35), 32.0)
    assert esp.load(tmp_path / "neuron4096", bias=-0.1)[0].clip is None
    with pytest.raises(InputError, match="bias="):
        esp.load(write(tmp_path / "neuron40960", n4096_l1=text))
    with pytest.raises(InputError, match="bias lists 2 layers, the network has 1"):
        esp.load(tmp_path / "net", bias=[0.0, 0.0])


def test_caller_overrides_what_was_saved(tmp_path: Path) -> None:
    esp.save(esp.Network([esp.Layer([[1.0]], 0.5, clip=2.0)]), tmp_path / "net")
    layer = esp.load(tmp_path / "net", bias=-1.0, activation="identity")[0]
    assert (layer.bias.tolist(), layer.activation, layer.clip) == ([-1.0], "identity", None)


def test_matrix_market_of_scipy(tmp_path: Path) -> None:
    from scipy.io import mmwrite

    weights = np.array([[0, 1.5, 0], [2, 0, 0]], dtype=np.float32)  # [inputs, outputs]
    import scipy.sparse as sp

    mmwrite(tmp_path / "layer.mtx", sp.coo_array(weights), symmetry="general")
    assert esp.load(tmp_path / "layer.mtx", bias=0.0)[0].weights.toarray().tolist() == [
        [0, 2],
        [1.5, 0],
        [0, 0],
    ]
    inputs = esp.load_inputs(tmp_path / "layer.mtx")
    np.testing.assert_array_equal(inputs.toarray(), weights)


def test_matrix_market_pattern(tmp_path: Path) -> None:
    path = tmp_path / "p.mtx"
    path.write_text("%%MatrixMarket matrix coordinate pattern general\n% a\n\n2 3 2\n1 3\n2 1\n")
    assert esp.load_inputs(path).toarray().tolist() == [[0, 0, 1], [1, 0, 0]]
    path.write_text("%%MatrixMarket matrix coordinate pattern general\n9 2 9\n")
    with path.open("a") as file:
        file.writelines(f"{row} 2\n" for row in range(1, 10))
    assert esp.load(path, bias=0.0)[0].weights.toarray().tolist() == [[0] * 9, [1] * 9]
