"""Initial patterns: counts, densities, and where they come from."""

from __future__ import annotations

import numpy as np
import pytest

from espalier import InputError, generate
from espalier.nn.sparse import patterns


@pytest.mark.parametrize("density", [0.0, 0.013, 0.5, 0.97, 1.0])
def test_uniform_patterns_have_their_density_in_every_row(density):
    pattern = patterns.uniform(30, 50, density, seed=1)
    counts = np.asarray(pattern.sum(axis=1)).reshape(-1)
    assert pattern.nnz == round(density * 1500)
    assert counts.max() - counts.min() <= 1
    assert (pattern.sum(axis=0) <= 30).all()
    assert pattern.has_canonical_format


def test_uniform_patterns_repeat_by_seed():
    same = (patterns.uniform(30, 50, 0.2, seed=1) != patterns.uniform(30, 50, 0.2, seed=1)).nnz
    other = (patterns.uniform(30, 50, 0.2, seed=1) != patterns.uniform(30, 50, 0.2, seed=2)).nnz
    assert same == 0 < other


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_uniform_patterns_of_nothing(shape):
    assert patterns.uniform(*shape, 0.5).nnz == 0


@pytest.mark.parametrize("arguments", [(4, 4, -0.1), (4, 4, 1.1), (-1, 4, 0.5)])
def test_uniform_patterns_that_cannot_be(arguments):
    with pytest.raises(InputError):
        patterns.uniform(*arguments)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.3, 0.9, 1.0])
def test_erdos_renyi_kernel_meets_the_density(density):
    shapes = [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    sizes = np.array([np.prod(shape) for shape in shapes])
    densities = np.array(patterns.erdos_renyi_kernel(shapes, density))
    assert (densities * sizes).sum() == pytest.approx(density * sizes.sum())
    assert ((densities > 0.0) & (densities <= 1.0)).all()
    scales = densities / [sum(shape) / np.prod(shape) for shape in shapes]
    assert np.allclose(scales[densities < 1.0], scales[densities < 1.0][:1])


@pytest.mark.parametrize(("shapes", "density"), [([], 0.5), ([(0, 4)], 0.5), ([(4, 4)], 0.0)])
def test_erdos_renyi_kernel_of_nothing(shapes, density):
    with pytest.raises(InputError):
        patterns.erdos_renyi_kernel(shapes, density)


def test_radixnet_has_the_generators_patterns():
    made = patterns.radixnet(64, 3, seed=5, kronecker=4)
    network = generate.radixnet(64, 3, seed=5, kronecker=4, bias=0.0)
    for pattern, layer in zip(made, network, strict=True):
        np.testing.assert_array_equal(pattern.toarray(), layer.weights.toarray() != 0)
