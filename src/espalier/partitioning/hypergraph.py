"""One layer as a hypergraph, whose cut is exactly the words that are sent.

Vertices are rows, weighted by their non-zeros; nets are columns, joining the rows that read them
and the part that owns the input, which is a fixed vertex. The connectivity of a net less
one is how often its activation is sent.

Two contractions leave the problem as it is and make it much smaller: rows with the same columns
become one vertex, as long as it is light enough to be moved without harm to the balance, so that
no such class is split for nothing; columns with the same readers and owner become one net.

Source: G. V. Demirci and H. Ferhatosmanoglu, "Partitioning Sparse Deep Neural Networks for
Scalable Training and Inference", ICS 2021, the hypergraph model of a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.kernels.rows import first_equal_patterns
from espalier.network import Layer
from espalier.network.csr import entries_of

Ints = NDArray[np.int64]
Owners = NDArray[np.int32]  # the part of every input, row or vertex


@dataclass(frozen=True)
class Hypergraph:
    """Vertices and nets of one layer, contracted.

    Attributes:
        vertex_of: int64 ``[rows]``, the vertex of every row.
        weights: int64 ``[vertices]``, non-zeros.
        offsets, pins: net ``n`` joins the vertices ``pins[offsets[n]:offsets[n + 1]]``.
        fixed_offsets, fixed: likewise the parts that it joins, wherever the vertices go.
        costs: int64 ``[nets]``, activations that each stands for.
    """

    vertex_of: Ints
    weights: Ints
    offsets: Ints
    pins: Ints
    fixed_offsets: Ints
    fixed: Ints
    costs: Ints

    @classmethod
    def of(cls, layer: Layer, owners: Owners | None, parts: int) -> Hypergraph:
        """The hypergraph of a layer whose inputs have these owners, or none yet."""
        vertex_of, weights = _contract_rows(layer, parts)
        offsets, pins = _readers(layer, vertex_of, len(weights))
        open_ones = np.full(layer.inputs, -1, np.int64)
        owned = open_ones if owners is None else owners.astype(np.int64)
        each = np.ones(layer.inputs, np.int64)
        new, kept_pins, costs, owner = _contract_columns(offsets, pins, owned, each)
        fixed_offsets = np.concatenate([[0], np.cumsum(owner >= 0)])
        return cls(vertex_of, weights, new, kept_pins, fixed_offsets, owner[owner >= 0], costs)

    def with_readers(self, reads: sp.csr_array[np.bool_, tuple[int, int]]) -> Hypergraph:
        """The same, and what each row costs by who reads it: a net of the row and those parts.

        Arguments:
            reads: ``[rows, parts]``, the parts that read every row.
        """
        rows = len(self.vertex_of)
        return Hypergraph(
            self.vertex_of,
            self.weights,
            np.concatenate([self.offsets, self.offsets[-1] + 1 + np.arange(rows)]),
            np.concatenate([self.pins, self.vertex_of]),
            np.concatenate([self.fixed_offsets, self.fixed_offsets[-1] + reads.indptr[1:]]),
            np.concatenate([self.fixed, reads.indices.astype(np.int64)]),
            np.concatenate([self.costs, np.ones(rows, np.int64)]),
        )

    def without_owners(self) -> Hypergraph:
        """The same rows, and the columns by their readers alone; those of one reader are left out.

        Much smaller where the owners of columns with equal readers differ.
        """
        no_owner = np.full(self.nets, -1, np.int64)
        offsets, pins, costs, _ = _contract_columns(self.offsets, self.pins, no_owner, self.costs)
        shared = np.flatnonzero(np.diff(offsets) > 1)
        bounds, kept = entries_of(offsets, shared)
        nothing, unowned = np.empty(0, np.int64), np.zeros(len(bounds), np.int64)
        return Hypergraph(
            self.vertex_of, self.weights, bounds, pins[kept], unowned, nothing, costs[shared]
        )

    @property
    def vertices(self) -> int:
        """Number of vertices, those of the parts left out."""
        return len(self.weights)

    @property
    def nets(self) -> int:
        """Number of nets."""
        return len(self.costs)

    def words(self, part_of_vertex: NDArray[np.integer], parts: int) -> int:
        """Connectivity less one, summed over nets with their costs: the words sent."""
        every = np.arange(self.nets)
        movable = np.repeat(every, np.diff(self.offsets)) * parts
        fixed = np.repeat(every, np.diff(self.fixed_offsets)) * parts
        joined = np.asarray(part_of_vertex, np.int64)[self.pins]
        pairs = np.unique(np.concatenate([movable + joined, fixed + self.fixed]))
        connectivity = np.bincount(pairs // parts, minlength=self.nets)
        return int((self.costs * np.maximum(connectivity - 1, 0)).sum())


def readers_of(layer: Layer, owners: Owners, parts: int) -> sp.csr_array[np.bool_, tuple[int, int]]:
    """The parts that read each input of a layer, ``[inputs, parts]``.

    >>> readers_of(Layer([[1.0, 1.0], [1.0, 0.0]], 0.0), np.array([0, 1]), 2).toarray().tolist()
    [[True, True], [True, False]]
    """
    reader = np.repeat(owners, np.diff(layer.row_offsets))
    reads: sp.csr_array[np.bool_, tuple[int, int]] = sp.csr_array(
        (np.ones(layer.nonzeros, bool), (layer.column_indices, reader)),
        shape=(layer.inputs, parts),
    )
    reads.sum_duplicates()
    return reads


def _contract_rows(layer: Layer, parts: int) -> tuple[Ints, Ints]:
    """The vertex of every row, and the vertices' weights.

    A vertex takes as many equal rows as divide a part's share evenly, so that perfect balance stays
    possible where it was.
    """
    nonzeros = np.diff(layer.row_offsets)
    first = first_equal_patterns(layer.row_offsets, layer.column_indices).astype(np.int64)
    # Rows without columns need not stay together, and only fill up the balance.
    first = np.where(nonzeros > 0, first, np.arange(layer.outputs))
    sizes = np.bincount(first, minlength=layer.outputs)
    most = _rows_a_vertex(layer.outputs, parts, sizes[sizes > 0])
    order = np.argsort(first, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])[:-1]
    within = np.arange(layer.outputs) - np.repeat(starts, sizes[sizes > 0])
    begins = within % most == 0
    vertex_of = np.empty(layer.outputs, np.int64)
    vertex_of[order] = np.cumsum(begins) - 1
    weights = np.bincount(vertex_of, nonzeros, minlength=int(begins.sum())).astype(np.int64)
    return vertex_of, weights


def _rows_a_vertex(rows: int, parts: int, sizes: Ints) -> int:
    share = rows // parts
    if share < 2 or not len(sizes):
        return 1
    common = int(np.bincount(sizes).argmax()) if sizes.max() > 1 else 1
    exact = math.gcd(common, share) if rows % parts == 0 else 1
    # Where nothing divides evenly, chunks of a 32nd of a share cost little balance.
    return exact if exact > 1 else max(1, min(common, share // 32))


def _readers(layer: Layer, vertex_of: Ints, vertices: int) -> tuple[Ints, Ints]:
    """For every column the vertices that read it, each once, rising."""
    rows = np.repeat(vertex_of, np.diff(layer.row_offsets))
    pairs = np.unique(layer.column_indices.astype(np.int64) * vertices + rows)
    columns, pins = np.divmod(pairs, max(vertices, 1))
    counts = np.bincount(columns, minlength=layer.inputs)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), pins


def _contract_columns(
    offsets: Ints, pins: Ints, owners: Ints, costs: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Nets of columns with equal readers and owner: offsets, pins, costs and owners."""
    counts = np.diff(offsets)
    first = first_equal_patterns(offsets, pins.astype(np.int32), owners.astype(np.float32))
    kept = np.flatnonzero((first == np.arange(len(counts))) & (counts > 0))
    sums = np.bincount(first, costs, minlength=len(counts))[kept]
    new, chosen = entries_of(offsets, kept)
    return new, pins[chosen], sums.astype(np.int64), owners[kept]
