"""The simplified network computes the same function, and counts what it found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier import Layer, Network, radixnet
from espalier.kernels import reference
from espalier.simplify.simplifier import Simplifier
from tests.support.networks import Case, cases

switches = st.booleans()


def reduced(
    network: Network, merge: bool = True, fold: bool = True
) -> tuple[list[Layer], Simplifier]:
    simplifier = Simplifier(merge, fold)
    return list(simplifier.simplify(network)), simplifier


@settings(max_examples=100)
@given(case=cases(max_layers=8), merge=switches, fold=switches)
def test_the_reduced_network_computes_the_same(case: Case, merge: bool, fold: bool) -> None:
    layers, simplifier = reduced(case.network, merge, fold)
    assert simplifier.expansion is not None
    unit, constant = simplifier.expansion.unit, simplifier.expansion.constant
    small = reference.infer(Network(layers), case.rows)
    expected = reference.infer(case.network, case.rows)
    result = np.broadcast_to(constant.astype(np.float64), expected.shape).copy()
    result[:, unit >= 0] = small[:, unit[unit >= 0]]
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=60)
@given(case=cases(max_layers=8), merge=switches, fold=switches)
def test_layers_that_are_trusted_would_pass_every_check(
    case: Case, merge: bool, fold: bool
) -> None:
    layers, _ = reduced(case.network, merge, fold)
    for layer in layers:
        arrays = layer.row_offsets, layer.column_indices, layer.values
        assert [array.dtype for array in arrays] == [np.int64, np.int32, np.float32]
        response = layer.bias, layer.activation, layer.clip
        assert Layer.from_csr(*arrays, layer.inputs, *response) == layer
    Network(layers)


@settings(max_examples=100)
@given(case=cases(max_layers=8), merge=switches, fold=switches)
def test_savings_are_what_is_missing(case: Case, merge: bool, fold: bool) -> None:
    layers, simplifier = reduced(case.network, merge, fold)
    savings = simplifier.savings
    assert savings.connections_before == case.network.connections
    assert savings.connections_after == sum(layer.nonzeros for layer in layers)
    assert savings.connections_after <= savings.connections_before
    neurons = sum(layer.outputs for layer in case.network)
    left = sum(layer.outputs for layer in layers[len(layers) - len(case.network) :])
    assert savings.merged + savings.constant + savings.unread == neurons - left
    assert merge or savings.merged == savings.inputs_merged == 0
    assert fold or savings.constant == savings.unread == 0
    if not merge and not fold:
        assert layers == list(case.network)


def test_reducing_twice_finds_nothing_new_in_the_widths() -> None:
    layers, _ = reduced(radixnet(96, 4, radices=[2, 3], bias=-0.1))
    again, _ = reduced(Network(layers))
    assert [layer.outputs for layer in again] == [layer.outputs for layer in layers]


def test_equal_weights_with_another_bias_stay_apart() -> None:
    rows = np.ones((4, 3))
    layers, simplifier = reduced(Network([Layer(rows, [0.5, 0.5, 0.25, 0.5])]), fold=False)
    assert layers[-1].bias.tolist() == [0.5, 0.25]
    assert simplifier.expansion is not None
    assert simplifier.expansion.unit.tolist() == [0, 0, 1, 0]
    assert simplifier.savings.merged == 2


def test_merging_goes_on_where_merged_inputs_make_rows_equal() -> None:
    first = Layer([[1.0, 2.0], [1.0, 2.0], [3.0, 1.0]], 0.0)
    second = Layer([[1.0, 2.0, 1.0], [2.0, 1.0, 1.0]], -1.0)  # equal once 0 and 1 are one
    layers, simplifier = reduced(Network([first, second]))
    assert [layer.outputs for layer in layers] == [2, 1]
    assert layers[1].weights.toarray().tolist() == [[3.0, 1.0]]
    assert simplifier.savings.merged == 2


def test_constants_move_into_the_bias_layer_after_layer() -> None:
    net = Network(
        [
            Layer([[0.0, 0.0], [1.0, 1.0]], [2.0, 0.0]),  # the first neuron is always 2
            Layer([[3.0, 0.0], [1.0, 1.0]], -1.0, clip=4.0),
            Layer([[1.0, 1.0]], 0.0),
        ]
    )
    layers, _ = reduced(net)
    x = np.array([[0.0, 0.0], [1.0, 5.0]])
    np.testing.assert_array_equal(reference.infer(Network(layers), x), reference.infer(net, x))


def test_negative_inputs_keep_rows_of_negative_weights() -> None:
    net = Network([Layer([[-1.0, -2.0], [1.0, 0.0]], 0.0)])
    layers, simplifier = reduced(net)
    assert layers[-1].outputs == 2 and simplifier.savings.constant == 0
    behind, simplifier = reduced(Network([Layer(np.eye(2), 0.0), net[0]]))
    assert behind[-1].outputs == 1 and simplifier.savings.constant == 1
    identity = Layer(np.eye(2), 0.0, "identity")
    behind, simplifier = reduced(Network([identity, net[0]]))
    assert behind[-1].outputs == 2 and simplifier.savings.constant == 0


def test_unread_neurons_disappear_but_never_outputs() -> None:
    net = Network([Layer(np.eye(3), 0.0), Layer([[1.0, 0.0, 0.0]], 0.0)])
    layers, simplifier = reduced(net)
    assert simplifier.savings.unread == 2
    assert [layer.outputs for layer in layers][-2:] == [1, 1]


@pytest.mark.parametrize("bias", [0.0, -1.0, 2.5])
def test_a_network_of_constants_keeps_a_row(bias: float) -> None:
    net = Network([Layer(np.zeros((3, 2)), bias), Layer(np.zeros((2, 3)), [bias, 1.0])])
    layers, simplifier = reduced(net)
    assert all(layer.outputs == 1 for layer in layers[-2:])
    assert simplifier.expansion is not None
    assert len(simplifier.expansion.unit) == 2


def test_equal_inputs_are_added_up_first() -> None:
    base = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    net = Network([Layer(np.hstack([base] * 8), -1.0)])
    layers, simplifier = reduced(net)
    assert [layer.weights.shape for layer in layers] == [(2, 16), (3, 2)]
    assert simplifier.savings.inputs_merged == 14
    x = np.random.default_rng(0).integers(-3, 4, (9, 16))
    np.testing.assert_array_equal(reference.infer(Network(layers), x), reference.infer(net, x))
