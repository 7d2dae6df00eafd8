"""The peers as candidates: every library at its best slab size, and on the whole batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import Candidate, Work
from benchmarks.challenge.settings import Settings
from benchmarks.harness.section import Record, grouped, skipped
from benchmarks.peers import PEERS, Peer
from espalier.errors import MissingExtraError
from espalier.network import Network

MOST_BATCH_BYTES = 2**30  # of a dense batch, of which a peer needs up to three

Loaded = dict[tuple[int, int], list[Any]]  # by slab size and number of samples


@dataclass(frozen=True)
class PeerCandidate:
    """A candidate and what is special about it."""

    candidate: Candidate
    peer: str
    filter: str
    slab: int | None  # None: the whole batch


def installed_peers(
    network: Network, samples: int, settings: Settings, *, filters: Iterable[bool]
) -> tuple[list[PeerCandidate], list[Record]]:
    """All peers that are installed, in every setting, and records of those that are not.

    Arguments:
        network: held in memory.
        samples: of the whole batch.
        filters: whether to drop dead rows.
    """
    entries: list[PeerCandidate] = []
    missing: list[Record] = []
    for peer_class in PEERS if settings.peers else ():
        try:
            peer = peer_class(network, threads=settings.threads)
        except MissingExtraError as error:
            missing.append(skipped("", peer_class.name, error))
            continue
        most = max(1, MOST_BATCH_BYTES // (4 * network.inputs))
        slabs = (peer.slab, samples) if peer.slab < samples else (samples,)
        loaded: Loaded = {}
        for drop in filters:
            for slab in slabs:
                variant = peer.variant(drop_dead_rows=drop, slab=slab)
                entries.append(_candidate(variant, slab < samples, most, loaded))
    return entries, missing


def best_peers(records: list[Record], *keys: str) -> list[Record]:
    """Of the peers that agree in these keys, the fastest one."""
    groups = grouped([record for record in records if record.get("peer")], *keys)
    return [min(group, key=lambda record: record["seconds"]["median"]) for group in groups]


def _candidate(peer: Peer, in_slabs: bool, most: int, loaded: Loaded) -> PeerCandidate:
    filter = "zero" if peer.drop_dead_rows else "none"
    slab = peer.slab if in_slabs else None
    where = "whole batch" if slab is None else f"slabs of {slab:,}"

    def prepare(batch: Any) -> Work:
        # A batch is loaded once for both settings of the filter.
        key = (peer.slab, batch.shape[0])
        if key not in loaded:
            loaded[key] = peer.load(batch)
        slabs = loaded[key]
        return lambda: peer.run(slabs)

    def outputs(batch: Any) -> NDArray[np.float32]:
        slabs = peer.load(batch)
        return peer.activations(peer.run(slabs), slabs)

    name = f"{peer.name}, {where}, filter {filter}"
    return PeerCandidate(Candidate(name, prepare, outputs, most), peer.name, filter, slab)
