"""The Sparse DNN Graph Challenge: official categories from every engine, on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

import espalier as esp
from espalier.inference import FILTERS, STRATEGIES, StrategyPlan
from espalier.kernels import reference
from tests.support.instruction_sets import AVAILABLE, forced


@pytest.fixture(scope="module")
def network(challenge_data: Path) -> esp.Network:
    return esp.load(challenge_data / "neuron1024.tar.gz", bias=-0.30, clip=32.0)


@pytest.fixture(scope="module")
def images(challenge_data: Path) -> Any:
    return esp.load_inputs(challenge_data / "sparse-images-1024-first1200.tsv.gz", width=1024)


@pytest.fixture(scope="module")
def truth(challenge_data: Path) -> NDArray[np.int64]:
    """0-based numbers of the official 60,000 images' categories."""
    return np.loadtxt(challenge_data / "neuron1024-l120-categories.tsv", dtype=np.int64) - 1


@pytest.fixture(scope="module")
def plans(network: esp.Network) -> dict[str, esp.Plan]:
    return {
        "all shortcuts": esp.compile(network),
        "no merging": esp.compile(network, merge=False),
        "no folding": esp.compile(network, fold=False),
        "no grouping": esp.compile(network, merge=False, group=False),
        "no fixed point": esp.compile(network, fixed_point=False),
        "streamed": esp.compile(network, memory=1 << 20),
    }


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("filter", FILTERS)
def test_1200_official_images_give_the_19_official_categories(
    plans: dict[str, esp.Plan], images: Any, truth: NDArray[np.int64], name: str, filter: Any
) -> None:
    expected = truth[truth < 1200]
    assert len(expected) == 19
    with forced(name):
        for plan in plans.values():
            result = plan.run(images, filter)
            assert result.categories.tolist() == expected.tolist()
            assert result.report().instruction_set == name
        dense = plans["all shortcuts"].run(images.toarray(), filter)
    assert dense.categories.tolist() == expected.tolist()
    full = dense.activations
    assert full.shape == (1200, 1024)
    assert set(np.unique(full)) == {0.0, 32.0}  # every survivor reaches the fixed point
    assert np.flatnonzero(full.all(axis=1)).tolist() == expected.tolist()


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_papers_strategies_give_the_official_categories(
    network: esp.Network, images: Any, truth: NDArray[np.int64], name: str, strategy: Any
) -> None:
    some = np.concatenate([truth[truth < 1200], np.arange(0, 1200, 40)])
    with forced(name):
        result = StrategyPlan(network, strategy).run(images[some])
    assert set(some[result.categories]) == set(truth) & set(some)


def test_activations_of_the_first_layers_are_the_references(
    network: esp.Network, images: Any
) -> None:
    head, some = network[:12], images[:60]
    expected = reference.infer(head, some)
    for merge in (False, True):
        result = esp.compile(head, merge=merge).run(some)
        bound = reference.tolerance(head, some)
        np.testing.assert_allclose(result.activations, expected, rtol=0.0, atol=bound)


def test_all_60000_images_give_the_1812_official_categories(
    network: esp.Network, plans: dict[str, esp.Plan], mnist_data: Path, truth: NDArray[np.int64]
) -> None:
    x = esp.challenge_images(1024, 60_000, source=mnist_data)
    assert abs(x.nnz / 6_374_505 - 1.0) < 0.001
    result = plans["all shortcuts"].run(x)
    assert len(truth) == 1812
    found = np.intersect1d(result.categories, truth)
    assert len(found) >= 0.99 * len(truth)
    assert result.categories.tolist() == truth.tolist()
    report = result.report()
    assert report.nominal_operations == network.connections * 60_000
    assert report.effective_operations < 0.01 * report.nominal_operations
    assert {"merge", "zero filter", "fixed point"} <= {s.name for s in report.shortcuts if s.used}


@pytest.mark.parametrize("neurons", [4096, 16384])
def test_generated_networks_agree_with_the_papers_strategy(neurons: int) -> None:
    net = esp.radixnet(neurons, 14)
    rng = np.random.default_rng(0)
    dense = rng.random((24, 1)) < 0.5
    x = sp.csr_array(rng.random((24, neurons)) < np.where(dense, 0.5, 0.1))
    slow = StrategyPlan(net, "filter").run(x)
    assert 0 < len(slow.categories) < 24
    for merge in (True, False):
        fast = esp.compile(net, merge=merge).run(x)
        assert fast.categories.tolist() == slow.categories.tolist()
        np.testing.assert_allclose(fast.activations, slow.activations.toarray(), atol=1e-3)
