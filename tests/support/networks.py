"""Networks and samples for property tests: drawn by hypothesis, built by numpy.

*Exact* cases hold small whole weights and biases in halves, so that every sum is a float32 number
whatever the order of its additions: all paths must agree with the reference bit for bit. *Rough*
cases hold arbitrary numbers, and agree within `reference.tolerance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from numpy.typing import NDArray

from espalier import Layer, Network

WIDTHS = (0, 1, 2, 7, 16, 33, 70)
SAMPLES = (0, 1, 2, 15, 17, 64, 65, 130)
LARGEST_EXACT = 2.0**21  # in halves, one bit below float32's whole numbers
LAYOUTS = ("dense", "fortran", "strided", "float64", "csr32", "csr64", "unsorted", "coo", "csc")


@dataclass(frozen=True)
class LayerRecipe:
    """What hypothesis draws of one layer; `make_layer` does the rest."""

    outputs: int
    density: float
    distinct: float  # share of rows that are not copies of others
    biases: str
    activation: str
    clip: float | None
    never_positive: bool


@st.composite
def layer_recipes(draw: st.DrawFn) -> LayerRecipe:
    activation, clip = draw(
        st.sampled_from(
            [("relu", None), ("relu", 4.0), ("relu", 4.0), ("relu", 1.5), ("identity", None)]
        )
    )
    return LayerRecipe(
        outputs=draw(st.sampled_from(WIDTHS[1:] * 4 + WIDTHS[:1])),
        density=draw(st.sampled_from((0.0, 0.05, 0.3, 0.3, 1.0))),
        distinct=draw(st.sampled_from((0.1, 0.5, 1.0))),
        biases=draw(st.sampled_from(("zero", "negative", "positive", "mixed"))),
        activation=activation,
        clip=clip,
        never_positive=draw(st.booleans()),
    )


def make_layer(recipe: LayerRecipe, inputs: int, rng: np.random.Generator, exact: bool) -> Layer:
    """A layer by recipe, with explicit zeros among its weights and copies among its rows."""
    shape = (recipe.outputs, inputs)
    values = rng.integers(-2, 3, shape).astype(np.float32)
    biases = rng.integers(0, 4, recipe.outputs).astype(np.float32) / 2
    if not exact:
        values *= rng.lognormal(0.0, 1.0, shape).astype(np.float32)
        biases *= rng.lognormal(0.0, 1.0, recipe.outputs).astype(np.float32)
    signs = {
        "zero": 0.0,
        "negative": -1.0,
        "positive": 1.0,
        "mixed": rng.choice([-1.0, 0.0, 1.0], recipe.outputs),
    }
    biases = (biases * signs[recipe.biases]).astype(np.float32)
    if recipe.never_positive:
        some = rng.random(recipe.outputs) < 0.3
        values[some], biases[some] = -np.abs(values[some]), -np.abs(biases[some])
    stored = rng.random(shape) < recipe.density
    if recipe.outputs:
        copied = rng.integers(0, max(1, int(recipe.distinct * recipe.outputs)), recipe.outputs)
        values, stored = values[copied], stored[copied]
        biases = np.where(rng.random(recipe.outputs) < 0.8, biases[copied], biases)
    return Layer(stored_matrix(values, stored), biases, recipe.activation, recipe.clip)


def stored_matrix(
    values: NDArray[np.float32], stored: NDArray[np.bool_]
) -> sp.csr_array[np.float32, tuple[int, int]]:
    """CSR of the entries marked as stored, zeros among them kept."""
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    columns = np.nonzero(stored)[1]
    return sp.csr_array((values[stored], columns, offsets), shape=values.shape)


@dataclass(frozen=True)
class Case:
    """A network, its samples as float32 rows, and the same samples as a user may hold them."""

    network: Network
    rows: NDArray[np.float32]
    x: Any

    def __repr__(self) -> str:
        layers = ", ".join(repr(layer) for layer in self.network)
        return f"Case([{layers}], rows {self.rows.shape}, x {type(self.x).__name__})"


@st.composite
def cases(draw: st.DrawFn, exact: bool = True, max_layers: int = 20) -> Case:
    """A network and samples for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    recipes = draw(st.lists(layer_recipes(), min_size=1, max_size=4))
    depth = draw(st.integers(1, max_layers))
    inputs = draw(st.sampled_from(WIDTHS[1:] * 4 + WIDTHS[:1]))
    rows = _make_rows(draw, inputs, rng, exact)
    layers: list[Layer] = []
    width, size = inputs, float(np.abs(rows).max(initial=0.0))
    for index in range(depth):
        layer = make_layer(recipes[index % len(recipes)], width, rng, exact)
        sums = abs(layer.weights).sum(axis=1).max(initial=0.0) * size
        size = float(sums + np.abs(layer.bias).max(initial=0.0))
        if layers and size > LARGEST_EXACT:
            break
        size = size if layer.clip is None else layer.clip
        layers.append(layer)
        width = layer.outputs
    return Case(Network(layers), rows, arrange(rows, draw(st.sampled_from(LAYOUTS)), rng))


def _make_rows(
    draw: st.DrawFn, inputs: int, rng: np.random.Generator, exact: bool
) -> NDArray[np.float32]:
    """Samples, some of them equal, some all zero."""
    samples = draw(st.sampled_from(SAMPLES))
    lowest = draw(st.sampled_from((-3, 0)))
    rows = rng.integers(lowest, 4, (samples, inputs)).astype(np.float32)
    if not exact:
        rows *= rng.random(rows.shape, np.float32)
    rows *= rng.random(rows.shape) < draw(st.sampled_from((0.1, 0.5, 1.0)))
    rows *= rng.random((samples, 1)) < 0.8
    copies = rng.integers(0, max(samples, 1), samples)
    return np.ascontiguousarray(np.where(rng.random((samples, 1)) < 0.7, rows, rows[copies]))


def arrange(rows: NDArray[np.float32], layout: str, rng: np.random.Generator) -> Any:
    """The samples in one of the layouts users have."""
    if layout == "dense":
        return rows
    if layout == "fortran":
        return np.asfortranarray(rows)
    if layout == "strided":
        return np.repeat(rows, 2, axis=1)[:, ::2]
    if layout == "float64":
        return rows.astype(np.float64)
    csr = sp.csr_array(rows)
    if layout == "coo":
        return csr.tocoo()
    if layout == "csc":
        return csr.tocsc()
    if layout == "unsorted":
        return scrambled(csr, rng)
    dtype = np.int64 if layout == "csr64" else np.int32
    indices = (csr.indices.astype(dtype), csr.indptr.astype(dtype))
    wide = sp.csr_array((csr.data, *indices), shape=csr.shape)
    wide.indices, wide.indptr = indices  # scipy narrows them
    return wide


def scrambled(csr: Any, rng: np.random.Generator) -> Any:
    """The same matrix with entries in any order, each split into two halves."""
    entry_rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    order = rng.permutation(2 * csr.nnz)
    order = order[np.argsort(np.tile(entry_rows, 2)[order], kind="stable")]
    columns, values = np.tile(csr.indices, 2)[order], np.tile(csr.data / 2, 2)[order]
    return sp.csr_array((values, columns, 2 * csr.indptr), shape=csr.shape)
