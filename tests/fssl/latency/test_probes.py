"""Points to measure: within the layer, apart from each other, few for heavy layers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from espalier.fssl import LayerUse
from espalier.fssl.latency.probes import BACKENDS, CSR, DENSE, STEP, points

widths = st.integers(1, 3000)
families = st.sampled_from([None, 0])


@st.composite
def layers(draw):
    shape = {"in_width": draw(widths), "out_width": draw(widths), "repeat": draw(st.integers(1, 9))}
    return LayerUse("layer", "linear", draw(families), draw(families), **shape)


@given(layer=layers(), backend=st.sampled_from(BACKENDS))
def test_points_lie_within_the_layer(layer, backend):
    found = points(layer, 256, backend)
    for point in found.all:
        assert 1 <= point.inputs <= layer.in_width
        assert 1 <= point.outputs <= layer.out_width
        if layer.inputs is None:
            assert point.inputs == layer.in_width
        if layer.outputs is None:
            assert point.outputs == layer.out_width
        if backend == CSR:
            assert 1 <= point.nonzeros <= layer.weights(point.inputs, point.outputs)
    assert (layer.in_width, layer.out_width) in {point[:2] for point in found.grid}
    assert len(found.choosing) == len(found.held_out) > 5


@given(layer=layers())
def test_a_dense_grid_is_a_product_of_axes(layer):
    grid = points(layer, 256, DENSE).grid
    inputs, outputs = ({point[axis] for point in grid} for axis in (0, 1))
    assert len(grid) == len(set(grid)) == len(inputs) * len(outputs)


def test_held_out_points_are_not_those_of_the_fit():
    layer = LayerUse("layer", "linear", 0, 1, in_width=784, out_width=300)
    for backend in BACKENDS:
        found = points(layer, 256, backend)
        assert not set(found.held_out) & {*found.grid, *found.choosing}
        assert points(layer, 256, backend) == found


def test_a_heavy_layer_is_measured_at_fewer_points():
    light = LayerUse("light", "conv", 0, 1, 64, 64, kernel=(3, 3), padding=(1, 1), size=(4, 4))
    heavy = LayerUse("heavy", "conv", 0, 1, 64, 64, kernel=(3, 3), padding=(1, 1), size=(56, 56))
    few, many = (points(layer, 256, DENSE).grid for layer in (heavy, light))
    assert len(few) < len(many)
    assert {STEP, 2 * STEP, 4 * STEP} <= {point.outputs for point in many}
    assert {STEP, 4 * STEP} <= {point.outputs for point in few}
