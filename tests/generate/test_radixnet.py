from __future__ import annotations

import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from espalier import InputError, NetworkError, radixnet
from espalier.generate.radixnet import RadixLayers

OFFICIAL_BIAS = {1024: -0.30, 4096: -0.35, 16384: -0.40, 65536: -0.45}
BLOCK = 6


@pytest.fixture(scope="module")
def official_layers(challenge_data: Path) -> list[sp.csr_array]:
    """The 120 official layers, ``[outputs, inputs]``."""
    layers: list[sp.csr_array] = [sp.csr_array((1, 1))] * 120
    with tarfile.open(challenge_data / "neuron1024.tar.gz") as tar:
        for member in tar:
            if member.isfile():
                file = tar.extractfile(member)
                assert file is not None
                numbers = np.array(file.read().split(), dtype=np.float64).reshape(-1, 3)
                rows, columns = numbers[:, 1].astype(int) - 1, numbers[:, 0].astype(int) - 1
                position = int(member.name.split("-l")[1].removesuffix(".tsv")) - 1
                layers[position] = sp.csr_array(
                    (numbers[:, 2].astype(np.float32), (rows, columns)), shape=(1024, 1024)
                )
    return layers


def input_permutation(
    base: list[sp.csr_array], block: list[sp.csr_array]
) -> NDArray[np.int32] | None:
    """A permutation p with ``block[j][:, p[i]] == base[j][:, i]`` for all layers, if there is one.

    An input is known by the outputs it feeds in all layers of the block. Copies of one base
    neuron feed the same ones, so they are interchangeable and matched in rising order.
    """
    of_base, of_block = (
        sorted(range(1024), key=lambda i, columns=columns: (columns[i], i))
        for columns in (
            np.packbits(sp.vstack(layers).toarray().astype(bool), axis=0).T.tolist()
            for layers in (base, block)
        )
    )
    permutation = np.empty(1024, dtype=np.int32)
    permutation[of_base] = of_block
    matches = all(
        (permuted[:, permutation] != plain).nnz == 0
        for plain, permuted in zip(base, block, strict=True)
    )
    return permutation if matches else None


def test_the_first_block_is_the_official_one(official_layers: list[sp.csr_array]) -> None:
    net = radixnet(neurons=1024, layers=120)
    for index in range(BLOCK):
        layer = net[index]
        assert (layer.weights != official_layers[index]).nnz == 0
        assert np.all(layer.bias == np.float32(-0.30)) and layer.clip == 32.0


def test_every_official_layer_follows_from_its_permutation(
    official_layers: list[sp.csr_array],
) -> None:
    base = official_layers[:BLOCK]
    permutations = [
        input_permutation(base, official_layers[start : start + BLOCK])
        for start in range(0, 120, BLOCK)
    ]
    assert np.array_equal(permutations[0], np.arange(1024))

    class OfficialLayers(RadixLayers):
        def permutation(self, block: int, inputs: int) -> NDArray[np.int32]:
            found = permutations[block]
            assert found is not None, f"block {block} is no permutation of the base"
            return found

    source = OfficialLayers((2,) * 6, (16,) * 121, 0, -0.30, 32.0, None)
    for index, official in enumerate(official_layers):
        assert (source.layer(index).weights != official).nnz == 0, f"layer {index}"


def test_later_blocks_are_the_base_with_permuted_inputs() -> None:
    net = radixnet(neurons=1024, layers=18, seed=5)
    base = [layer.weights for layer in net[:BLOCK]]
    second = input_permutation(base, [layer.weights for layer in net[BLOCK : 2 * BLOCK]])
    third = input_permutation(base, [layer.weights for layer in net[2 * BLOCK :]])
    assert second is not None and third is not None
    assert not np.array_equal(second, third)


@pytest.mark.parametrize("neurons", OFFICIAL_BIAS)
def test_the_four_challenge_sizes(neurons: int) -> None:
    net = radixnet(neurons, layers=1920)
    assert net.connections == 32 * neurons * 1920
    for index in (0, 6, 13, 1919):
        layer = net[index]
        assert np.all(layer.weights.sum(axis=1) == 2.0)
        assert np.all(np.bincount(layer.column_indices, minlength=neurons) == 32)
        assert np.all(layer.values == 1 / 16)
        assert np.all(layer.bias == np.float32(OFFICIAL_BIAS[neurons]))


def test_a_layer_depends_on_its_seed_and_index_alone() -> None:
    deep, shallow = radixnet(256, 100, seed=1), radixnet(256, 9, seed=1)
    assert deep[8] == shallow[8]
    assert deep[8] != radixnet(256, 100, seed=2)[8]
    assert deep[::-1][0] == deep[99]


@given(
    radices=st.lists(st.integers(2, 5), min_size=1, max_size=3),
    data=st.data(),
)
def test_any_block_joins_every_input_to_every_output_equally(
    radices: list[int], data: st.DataObject
) -> None:
    depth = len(radices)
    copies = data.draw(st.lists(st.integers(1, 3), min_size=depth + 1, max_size=depth + 1))
    net = radixnet(
        math.prod(radices) * copies[0],
        depth,
        radices=radices,
        kronecker=copies,
        weight=1.0,
        bias=0.0,
    )
    paths = np.eye(net.inputs, dtype=np.int64)
    for index, layer in enumerate(net):
        assert net.shape(index) == layer.weights.shape
        paths = layer.weights.toarray().astype(np.int64) @ paths
    assert np.all(paths == math.prod(copies[1:-1]))
    assert net.connections == sum(layer.nonzeros for layer in net)


def test_a_rectangular_network_in_later_blocks() -> None:
    net = radixnet(12, 6, radices=[2, 3], kronecker=[2, 1, 3, 1, 2, 2, 1])
    widths = [net.inputs, *(layer.outputs for layer in net)]
    assert widths == [12, 6, 18, 6, 12, 12, 6]
    for layer in net:
        assert np.allclose(layer.weights.sum(axis=1), 2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neurons": 1000}, "neurons is 1000, wanted 16"),
        ({"neurons": 16}, "base width of at least 2"),
        ({"neurons": 0}, "neurons is 0, wanted at least 1"),
        ({"neurons": 32.0}, "whole number"),
        ({"layers": 0}, "layers is 0"),
        ({"radices": [2, 3]}, r"radices \[2, 3\] have product 6, wanted 64"),
        ({"radices": [1, 64]}, "radices is 1, wanted at least 2"),
        ({"kronecker": 0}, "kronecker is 0"),
        ({"kronecker": [16, 16]}, "kronecker has 2 widths, wanted 121"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        radixnet(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [{"bias": np.nan}, {"clip": 0.0}, {"weight": np.inf}])
def test_numbers_no_layer_takes_are_refused_at_once(arguments: dict[str, float]) -> None:
    with pytest.raises(NetworkError):
        radixnet(**arguments)  # type: ignore[arg-type]
