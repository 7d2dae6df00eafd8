"""The simulator: the same numbers as one process, exact words, and adjoint exchanges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier.distributed import Machine, Simulation
from espalier.kernels import reference
from tests.support.networks import cases


def random_partition(net, parts, seed=0):
    return esp.partition(net, parts, "hash", seed=seed)


@settings(max_examples=50)
@given(case=cases(max_layers=5), parts=st.integers(1, 6), merge=st.booleans())
def test_parts_compute_what_one_process_does(case, parts, merge):
    net = case.network
    simulation = Simulation.of(net, random_partition(net, parts), merge=merge)

    np.testing.assert_allclose(
        simulation.run(case.rows),
        reference.infer(net, case.rows),
        rtol=1e-9,
        atol=1e-9 * (1.0 + np.abs(case.rows).max(initial=0.0)),
    )


@pytest.mark.parametrize("parts", [1, 3, 8, 512])
def test_words_and_messages_are_those_of_the_recount(parts):
    net = esp.radixnet(512, 3)
    partition = random_partition(net, parts)
    figures = partition.report(net).layers["hash"]
    simulation = Simulation.of(net, partition)

    assert simulation.words_by_layer() == [each.words for each in figures]
    assert simulation.messages_by_layer() == [each.messages for each in figures]


def test_merging_equal_rows_sends_fewer_words():
    net = esp.radixnet(1024, 8)
    partition = esp.partition(net, 8)
    merged = Simulation.of(net, partition, merge=True).words_by_layer()
    plain = Simulation.of(net, partition).words_by_layer()

    assert sum(merged[1:]) * 2 < sum(plain[1:])


@settings(max_examples=30)
@given(parts=st.integers(1, 5), seed=st.integers(0, 20))
def test_gradients_are_those_of_the_whole_network(parts, seed):
    net = esp.random_network([12, 9, 10, 4], connections=3, seed=seed, clip=2.0)
    rng = np.random.default_rng(seed)
    x, dy = rng.random((6, 12)), rng.standard_normal((6, 4))
    by_x, by_weights = Simulation.of(net, random_partition(net, parts, seed)).gradients(x, dy)

    activations = [x]
    for layer in net:
        activations.append(np.clip(activations[-1] @ layer.weights.T + layer.bias, 0.0, 2.0))
    gradient = dy
    for index in reversed(range(len(net))):
        y, layer = activations[index + 1], net[index]
        gradient = gradient * ((y > 0.0) & (y < 2.0))
        dense = gradient.T @ activations[index]
        np.testing.assert_allclose(
            by_weights[index].toarray(), dense * (layer.weights.toarray() != 0), atol=1e-12
        )
        gradient = gradient @ layer.weights.toarray()
    np.testing.assert_allclose(by_x, gradient, atol=1e-12)


@settings(max_examples=30)
@given(parts=st.integers(1, 6), seed=st.integers(0, 50))
def test_expand_and_fold_are_adjoint(parts, seed):
    """For a linear layer A: <A x, y> = <x, A^T y>, through both exchanges."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((17, 23)) * (rng.random((17, 23)) < 0.3)
    net = esp.Network([esp.Layer(weights, bias=0.0, activation="identity")])
    simulation = Simulation.of(net, random_partition(net, parts, seed))
    x, y = rng.standard_normal((2, 23)), rng.standard_normal((2, 17))

    forward, (backward, _) = simulation.run(x), simulation.gradients(x, y)
    assert (forward * y).sum() == pytest.approx((x * backward).sum())


def test_predicted_time_is_the_slowest_part_and_its_words():
    net = esp.Network([esp.Layer(np.ones((4, 4)), bias=0.0)])
    simulation = Simulation.of(net, esp.partition(net, 2, "block"))
    machine = Machine(latency=1.0, bandwidth=8.0, rate=16.0)

    assert simulation.layers[0].seconds(machine, batch=2) == (1.0, 1.0 + 2 * 2 * 4 / 8.0)
    assert simulation.seconds(machine, batch=2) == 4.0
