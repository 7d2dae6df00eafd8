"""Live operations: what the share of the ceiling is counted in."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.challenge.comparison import reference
from espalier import challenge_images, compile, radixnet
from espalier.network import Network


@pytest.mark.parametrize("filter", ["none", "zero"])
@pytest.mark.parametrize("sparse", [False, True])
def test_live_operations_are_connections_times_living_samples(filter: str, sparse: bool) -> None:
    network = radixnet(256, 9, bias=-0.31)
    images = challenge_images(256, 500)
    batch = images if sparse else images.toarray()
    layers = list(network)
    expected = 0.0
    living = [len(batch.nonzero()[0]) and 500]
    for depth in range(1, len(layers)):
        living.append(int(reference(Network(layers[:depth]), batch).any(axis=1).sum()))
    expected = sum(count * layer.nonzeros for count, layer in zip(living, layers, strict=True))
    assert 0 < living[-1] < 250, "some samples die on the way"
    plan = compile(network, merge=False, fold=False, fixed_point=False, threads=1)
    report = plan.run(batch, filter).report()  # type: ignore[arg-type]
    saved = layers[0].nonzeros * (500 - images.nnz / 256) if _scattered(report) else 0.0
    assert report.live_operations == pytest.approx(expected - saved, rel=1e-6)
    assert report.live_operations <= report.effective_operations


def _scattered(report: object) -> bool:
    shortcuts = report.shortcuts  # type: ignore[attr-defined]
    return any(shortcut.used for shortcut in shortcuts if shortcut.name == "sparse input")


def test_without_samples_nothing_lives() -> None:
    plan = compile(radixnet(256, 3), threads=1)
    assert plan.run(np.zeros((0, 256), np.float32)).report().live_operations == 0
