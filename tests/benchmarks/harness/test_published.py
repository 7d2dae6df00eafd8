from __future__ import annotations

import pytest

from benchmarks.harness import published
from espalier import radixnet


def test_every_official_network_has_its_best_times() -> None:
    assert len(published.NETWORKS) == 12
    assert set(published.BEST_CPU) == set(published.BEST_GPU) == set(published.NETWORKS)
    for network in published.NETWORKS:
        assert published.BEST_GPU[network].seconds < published.BEST_CPU[network].seconds


@pytest.mark.parametrize("neurons", published.SIZES)
def test_sizes_agree_with_the_generator(neurons: int) -> None:
    net = radixnet(neurons, 2)
    assert net.connections == published.connections(neurons, 2)
    assert float(net[0].bias[0]) == pytest.approx(published.SIZES[neurons].bias)


@pytest.mark.parametrize("key", published.FSSL_SECONDS)
def test_deeper_networks_take_longer(key: tuple[published.Device, published.Strategy]) -> None:
    table = published.FSSL_SECONDS[key]
    assert set(table) <= set(published.NETWORKS)
    for neurons in {neurons for neurons, _ in table}:
        seconds = [
            table[neurons, layers] for layers in published.DEPTHS if (neurons, layers) in table
        ]
        assert seconds == sorted(seconds)


def test_rates_follow_from_times() -> None:
    """The best filter rate as the paper's own time gives it."""
    seconds = published.FSSL_SECONDS["V100", "filter"][1024, 1920]
    assert published.rate(1024, 1920, seconds) == pytest.approx(9.86e10, rel=1e-3)
