from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier import InputError, NetworkError, random_network
from espalier.generate.random import distinct_columns
from espalier.generate.rng import Rng


@given(
    widths=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    data=st.data(),
)
def test_every_output_reads_different_inputs(widths: list[int], data: st.DataObject) -> None:
    connections = data.draw(st.integers(1, min(widths[:-1])))
    net = random_network(widths, connections=connections)
    for index, layer in enumerate(net):
        assert (
            (layer.outputs, layer.inputs)
            == net.shape(index)
            == tuple(widths[index : index + 2])[::-1]
        )
        assert np.all(np.diff(layer.row_offsets) == connections)
    assert net.connections == sum(layer.nonzeros for layer in net)


@pytest.mark.parametrize("columns", [40, 100])
def test_all_columns_are_equally_likely(columns: int) -> None:
    drawn = distinct_columns(Rng(0), 20_000, columns, 30)
    assert np.all(np.diff(drawn, axis=1) > 0)
    expected = 20_000 * 30 / columns
    counts = np.bincount(drawn.ravel(), minlength=columns)
    assert np.all(np.abs(counts / expected - 1.0) < 0.06)


@pytest.mark.parametrize(
    ("neurons", "layers"), [(256, 120), (1024, 120), ([300, 784, *[200] * 60, 10], None)]
)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_deep_networks_stay_alive_and_distinct(
    neurons: int | list[int], layers: int | None, scale: float
) -> None:
    net = random_network(neurons, layers)
    generator = np.random.default_rng(0)
    rows = scale * (generator.random((net.inputs, 24)) < 0.1)
    for layer in net[:-1]:
        rows = np.clip(layer.weights.astype(np.float64) @ rows + layer.bias[:, None], 0.0, 32.0)
        share = (rows > 0.0).mean(axis=0)
        assert share.min() > 0.3 and share.max() < 0.7
        assert 0.1 < np.sqrt(np.square(rows).mean()) < 20.0
    assert len(np.unique(rows, axis=1).T) == 24


def test_nothing_repeats() -> None:
    net = random_network(1024, 2)
    layer = net[0]
    assert len(np.unique(layer.values)) > 0.99 * layer.nonzeros
    assert len(np.unique(layer.bias)) > 0.99 * layer.outputs
    assert (layer.bias > 0.0).any() and (layer.bias < 0.0).any()
    assert net[1] != layer


def test_a_layer_depends_on_its_seed_and_index_alone() -> None:
    deep = random_network(64, 50, seed=3)
    assert deep[7] == random_network([64] * 9, seed=3)[7]
    assert deep[7] != random_network(64, 50, seed=4)[7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neurons": 16}, "connections is 32, wanted at most 16"),
        ({"neurons": [100]}, "1 widths, wanted at least 2"),
        ({"neurons": [100, 0]}, "neurons is 0"),
        ({"neurons": [100, 100], "layers": 2}, "1 layers, but layers is 2"),
        ({"layers": 0}, "layers is 0"),
        ({"connections": 0}, "connections is 0"),
        ({"bias": -1.0}, "bias is -1"),
        ({"bias": np.nan}, "bias is nan"),
        ({"seed": "a"}, "seed is 'a'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        random_network(**arguments)  # type: ignore[arg-type]


def test_a_bad_clip_is_refused_at_once() -> None:
    with pytest.raises(NetworkError, match="clip is -1"):
        random_network(clip=-1.0)
