"""Random networks for the tests of files."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

from espalier import Layer, Network

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
widths = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@st.composite
def layers(draw: st.DrawFn, inputs: int, outputs: int) -> Layer:
    """A layer of any density, empty ones too, with any bias, activation and clip."""
    dense = np.array(
        draw(
            st.lists(
                st.lists(st.one_of(st.just(0.0), finite), min_size=inputs, max_size=inputs),
                min_size=outputs,
                max_size=outputs,
            )
        ),
        dtype=np.float32,
    )
    bias = draw(st.one_of(finite, st.lists(finite, min_size=outputs, max_size=outputs)))
    activation = draw(st.sampled_from(["relu", "identity"]))
    clip = draw(st.sampled_from([None, 32.0, 0.1])) if activation == "relu" else None
    return Layer(sp.csr_array(dense), bias, activation, clip)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A rectangular network of one to four layers."""
    sizes = draw(widths)
    return Network([draw(layers(sizes[k], sizes[k + 1])) for k in range(len(sizes) - 1)])


def small_network() -> Network:
    """Three layers, rectangular, one of them empty."""
    return Network(
        [
            Layer([[0.0, 0.1, 0.0], [2.5, 0.0, -1e-30]], bias=[-0.5, 0.25], clip=32.0),
            Layer(sp.csr_array((4, 2), dtype=np.float32), bias=0.3),
            Layer([[1.0, 2.0, 0.0, 1e30]], bias=0.0, activation="identity"),
        ]
    )
