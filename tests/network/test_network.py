"""Layer and Network keep their promises, and refuse what would break them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier import Layer, Network, NetworkError
from tests.support.networks import Case, cases, scrambled


def damaged(**arrays: Any) -> Any:
    """A sound 3 x 3 CSR matrix with some of its arrays replaced behind scipy's back."""
    weights = sp.csr_array(np.ones((3, 3), np.float32))
    for name, array in arrays.items():
        setattr(weights, name, np.asarray(array, getattr(array, "dtype", np.int32)))
    return weights


BAD_WEIGHTS = {
    "nothing": (None, "weights"),
    "text": ("seven", "weights"),
    "one axis": ([1.0, 2.0], "dimensions"),
    "three axes": (np.ones((2, 2, 2)), "2-d"),
    "strings": ([["a"]], "weights"),
    "complex": (np.array([[1j]]), "complex"),
    "complex csr": (sp.csr_array(np.array([[1j]])), "complex"),
    "objects": (np.array([[object()]]), "weights"),
    "nan": ([[1.0, np.nan]], r"weights\[0, 1\] is nan"),
    "inf": ([[1.0, 0.0], [0.0, -np.inf]], r"weights\[1, 1\] is -inf"),
    "too large": ([[1e39]], r"weights\[0, 0\] is inf.*float32"),
    "duplicate": (
        sp.csr_array((np.ones(3), [0, 1, 1], [0, 1, 3]), shape=(2, 2)),
        r"weights\[1, 1\] appears twice",
    ),
    "offsets fall": (damaged(indptr=[0, 6, 3, 9]), "fall at row 1"),
    "offsets too short": (damaged(indptr=[0, 3, 9]), "weights|offsets"),
    "offsets too long": (damaged(indptr=[0, 3, 6, 9, 9]), "weights|offsets"),
    "offsets past the end": (damaged(indptr=[0, 3, 6, 10]), "weights|offsets"),
    "offsets start late": (damaged(indptr=[3, 3, 6, 9]), "weights|offsets"),
    "column too large": (damaged(indices=[0, 1, 2] * 2 + [0, 1, 3]), "column index 3"),
    "column negative": (damaged(indices=[-1, 1, 2] * 3), "column index -1"),
    "values missing": (damaged(data=np.ones(8, np.float32)), "weights"),
}


@pytest.mark.parametrize(("weights", "says"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_are_refused(weights: Any, says: str) -> None:
    with pytest.raises(NetworkError, match=says):
        Layer(weights, 0.0)


@pytest.mark.parametrize(
    "bias",
    [
        None,
        "x",
        "1",
        ["1", "2"],
        [1.0],
        [1.0, 2.0, 3.0],
        [[1.0, 2.0]],
        [[1.0], [2.0, 3.0]],
        np.nan,
        [0.0, np.inf],
        1e39,
        [0.0, 1e39],
        1j,
        np.array([1j, 1j]),
        object,
    ],
    ids=repr,
)
def test_bad_biases_are_refused(bias: Any) -> None:
    with pytest.raises(NetworkError, match="bias"):
        Layer(np.eye(2), bias)


@pytest.mark.parametrize(
    "clip", [0.0, -1.0, np.nan, np.inf, 1e39, 1e-50, "x", "32", [1.0, 2.0], 1j, object], ids=repr
)
def test_bad_clips_are_refused(clip: Any) -> None:
    with pytest.raises(NetworkError, match="clip"):
        Layer(np.eye(2), 0.0, clip=clip)


@pytest.mark.parametrize("activation", ["", "ReLU", None, 0, ["relu"]])
def test_unknown_activations_are_refused(activation: Any) -> None:
    with pytest.raises(NetworkError, match=r"activation is .*relu.*identity"):
        Layer(np.eye(2), 0.0, activation)


def test_identity_takes_no_clip() -> None:
    with pytest.raises(NetworkError, match="relu"):
        Layer(np.eye(2), 0.0, "identity", 32.0)


@settings(max_examples=60)
@given(case=cases(max_layers=1), seed=st.integers(0, 99))
def test_weights_become_sorted_float32_csr(case: Case, seed: int) -> None:
    wanted = case.network[0]
    messy = scrambled(wanted.weights, np.random.default_rng(seed))
    messy.sum_duplicates()
    rows = np.repeat(np.arange(wanted.outputs), np.diff(wanted.row_offsets))
    order = np.random.default_rng(seed).permutation(wanted.nonzeros)
    coo = sp.coo_array(
        (wanted.values[order].astype(np.float64), (rows[order], wanted.column_indices[order])),
        shape=wanted.weights.shape,
    )
    for weights in (wanted.weights, messy, coo, sp.csr_matrix(wanted.weights)):
        layer = Layer(weights, wanted.bias, wanted.activation, wanted.clip)
        assert layer == wanted
        assert (layer.row_offsets.dtype, layer.column_indices.dtype) == (np.int64, np.int32)
        assert layer.values.dtype == layer.bias.dtype == np.float32
    assert Layer(wanted.weights.tocsc(), wanted.bias, wanted.activation, wanted.clip) == wanted
    assert wanted.nonzeros == len(wanted.values)


def test_columns_that_scipy_wrongly_calls_sorted_are_sorted() -> None:
    weights = sp.csr_array(np.float32([[1.0, 2.0, 3.0]]))
    assert weights.has_sorted_indices and weights.has_canonical_format
    weights.indices[:] = [2, 0, 1]
    layer = Layer(weights, 0.0)
    assert layer.column_indices.tolist() == [0, 1, 2]
    assert layer.weights.toarray().tolist() == [[2.0, 3.0, 1.0]]


@pytest.mark.parametrize("name", ["row_offsets", "column_indices"])
@pytest.mark.parametrize("value", [-1, 3, 2**30])
def test_arrays_changed_behind_a_layers_back_do_no_harm(name: str, value: int) -> None:
    arrays = {
        "row_offsets": np.arange(4, dtype=np.int64),
        "column_indices": np.array([0, 1, 2], np.int32),
        "values": np.ones(3, np.float32),
    }
    net = Network([Layer.from_csr(**arrays, inputs=3, bias=0.0)])
    arrays[name][1] = value
    if name == "row_offsets" and value == 3:
        arrays[name][2] = 2
    with pytest.raises(ValueError, match="rise"):
        esp.compile(net)


@pytest.mark.parametrize("dtype", [">i4", ">i8", np.uint8, np.int64])
def test_indices_of_any_whole_type_fit(dtype: Any) -> None:
    offsets, columns = np.array([0, 2, 3], dtype), np.array([2, 0, 1], dtype)
    layer = Layer.from_csr(offsets, columns, [1.0, 2.0, 3.0], inputs=3, bias=0.0)
    assert layer == Layer([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]], 0.0)


@pytest.mark.parametrize("name", ["bias", "values", "column_indices"])
def test_arrays_of_a_layer_are_read_only(name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        getattr(Layer(np.eye(2), 1.0), name)[0] = 7


def test_layers_are_equal_when_every_number_is() -> None:
    layer = Layer([[1.0, 2.0]], 0.5, clip=4.0)
    assert layer == Layer(np.array([[1, 2]]), [0.5], "relu", 4.0)
    others = [
        Layer([[1.0, 3.0]], 0.5, clip=4.0),
        Layer([[1.0, 2.0]], 0.25, clip=4.0),
        Layer([[1.0, 2.0]], 0.5),
        Layer([[1.0, 2.0]], 0.5, "identity"),
        Layer([[1.0, 2.0, 0.0]], 0.5, clip=4.0),
        Layer([[1.0, 0.0]], 0.5, clip=4.0),
    ]
    assert not any(layer == other for other in others)
    assert layer != "layer"
    with pytest.raises(TypeError):
        hash(layer)


def test_reprs_say_sizes() -> None:
    layer = Layer(np.ones((2, 3)), 0.0, clip=32.0)
    assert repr(layer) == "Layer(3 -> 2, 6 connections, relu, clip=32)"
    assert repr(Network([layer])) == "Network(1 layers, 3 -> 2, 6 connections)"


def test_a_network_is_a_sequence() -> None:
    layers = [Layer(np.ones((w + 1, w)), 0.0) for w in (1, 2, 3)]
    net = Network(layers)
    assert (len(net), net.inputs, net.outputs, net.connections) == (3, 1, 4, 2 + 6 + 12)
    assert list(net) == layers and net[-1] is layers[2]
    assert list(net[1:]) == layers[1:] and net[1:].inputs == 2
    assert net.shape(-1) == (4, 3)
    with pytest.raises(IndexError):
        net[3]
    with pytest.raises(NetworkError, match="layer 1 reads 2 inputs, but layer 0 has 4"):
        net[::-1]
    with pytest.raises(NetworkError, match="at least one layer"):
        net[3:]


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([], "at least one layer"),
        ([Layer(np.eye(2), 0.0), Layer(np.eye(3), 0.0)], "layer 1 reads 3 .*transpose"),
        ([np.eye(2)], "layer 0 is a ndarray"),
        ([Layer(np.eye(2), 0.0), None], "layer 1 is a NoneType"),
        (None, "layers"),
        (7, "layers"),
    ],
)
def test_bad_networks_are_refused(layers: Any, says: str) -> None:
    with pytest.raises(NetworkError, match=says):
        Network(layers)


def test_lazy_networks_make_layers_on_demand_and_check_them_as_they_pass() -> None:
    class Source(esp.LayerSource):
        def __len__(self) -> int:
            return 3

        def layer(self, index: int) -> Layer:
            return Layer(np.eye(3 if index == 2 else 2), float(index))

    net = Network(Source())
    assert net.is_lazy and net[1].bias.tolist() == [1.0, 1.0]
    assert repr(net) == "Network(3 layers on demand, 2 -> 3)"
    assert [layer.outputs for layer in net[:2]] == [2, 2]
    assert net[:2].connections == 4
    with pytest.raises(NetworkError, match="layer 2 reads 3 inputs"):
        list(net)
