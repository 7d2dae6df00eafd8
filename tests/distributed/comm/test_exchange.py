"""Exchanges: what is taken is what is given, and each part finds its neurons."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from espalier.distributed import IndexMap
from espalier.distributed.comm.exchange import exchanges_of, find_takes
from espalier.distributed.inference.local_layer import local_layer
from espalier.partitioning import layer_volume
from tests.support.networks import cases


@given(case=cases(max_layers=1), parts=st.integers(1, 7), seed=st.integers(0, 99))
def test_words_are_those_of_the_recount(case, parts, seed):
    layer, rng = case.network[0], np.random.default_rng(seed)
    before = rng.integers(0, parts, layer.inputs).astype(np.int32)
    after = rng.integers(0, parts, layer.outputs).astype(np.int32)
    index_map = IndexMap.of(before, parts)
    pieces = [
        local_layer(layer.select_rows(np.flatnonzero(after == part)), index_map, part, merge=False)
        for part in range(parts)
    ]
    exchanges = exchanges_of([each.takes for each in pieces], index_map)

    words = np.array([[len(places) for places in ex.gives] for ex in exchanges])
    np.testing.assert_array_equal(words, layer_volume(layer, before, after, parts).words)
    for ex, piece in zip(exchanges, pieces, strict=True):
        assert ex.width == piece.layer.inputs
        assert ex.words_received == words[:, ex.part].sum()
        assert set(ex.outbox) == {int(place) for places in ex.gives for place in places}


@given(
    owners=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    data=st.data(),
    part=st.integers(0, 3),
)
def test_a_part_finds_every_neuron_it_reads(owners, data, part):
    index_map = IndexMap.of(np.array(owners, np.int32), 4)
    columns = np.array(data.draw(st.lists(st.integers(0, len(owners) - 1))), np.int64)
    index, takes = find_takes(columns, index_map, part)
    # What the part sees, by number: its own neurons, then those it receives.
    seen = np.concatenate(
        [index_map.neurons(part)] + [index_map.neurons(p)[t] for p, t in enumerate(takes)]
    )

    np.testing.assert_array_equal(seen[index[columns]], columns)
    assert len(takes[part]) == 0


def test_neurons_proven_equal_are_sent_once():
    owners = np.array([0, 0, 0, 1], np.int32)
    units = [np.array([0, 0, 1], np.int32), np.array([0], np.int32)]
    index_map = IndexMap.of(owners, 2, units)
    index, takes = find_takes(np.array([0, 1, 2]), index_map, part=1)

    assert index_map.counts.tolist() == [2, 1]
    assert [each.tolist() for each in takes] == [[0, 1], []]
    assert index[:3].tolist() == [1, 1, 2]
