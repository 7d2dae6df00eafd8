"""Exchanges by MPI messages: persistent requests, no indices on the wire.

What is received goes straight into its place behind the part's own neurons. A request belongs to
the arrays it was made for; whoever reuses arrays reuses requests.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple


from espalier.distributed.exchange import Exchange
from espalier.distributed.world import World, import_mpi
from espalier.kernels.panels import Panels, add_neurons, empty_panels, take_neurons

if TYPE_CHECKING:
    from mpi4py import MPI

FORWARD, BACKWARD = 1, 2  # tags
KEPT = 64  # sets of requests a channel keeps; a training has one for each buffer in use


class Messages:
    """Channels over MPI's messages between processes, on one machine or many."""

    name = "messages"
    overlaps = True

    def __init__(self, world: World) -> None:
        self.world = world
        self._channels: list[MessageChannel] = []

    def channel(self, exchange: Exchange) -> MessageChannel:
        """A channel for one exchange."""
        self._channels.append(MessageChannel(exchange, self.world))
        return self._channels[-1]

    def close(self) -> None:
        """Free all requests."""
        for channel in self._channels:
            channel.close()


class _Requests(NamedTuple):
    """The requests of one array; what is packed for each peer, or comes packed from it."""

    requests: list[MPI.Prequest]
    peers: list[int]
    packed: list[tuple[int, Panels]]
    types: list[MPI.Datatype]
    memory: Panels  # kept: it must stay what the requests were made for


class MessageChannel:
    """One exchange by messages."""

    def __init__(self, exchange: Exchange, world: World) -> None:
        self.exchange = exchange
        self._world, self._comm = world, world.within
        self._first_rank = world.replica * world.parts
        self._made: OrderedDict[tuple[int, int, tuple[int, ...]], _Requests] = OrderedDict()

    def start(self, x: Panels) -> None:
        """Send what others read of the own neurons."""
        made = self._requests(FORWARD, x)
        for part, packed in made.packed:
            take_neurons(x, self.exchange.gives[part], packed)
        if made.requests:
            import_mpi().Prequest.Startall(made.requests)

    def finish(self, x: Panels) -> None:
        """Wait until all received neurons are in ``x``."""
        made = self._requests(FORWARD, x)
        if made.requests:
            self._world.patience.wait(made.requests, made.peers)

    def fold(self, gradient: Panels) -> None:
        """Send partial sums back, and add what comes in the order of parts."""
        made = self._requests(BACKWARD, gradient)
        if made.requests:
            import_mpi().Prequest.Startall(made.requests)
            self._world.patience.wait(made.requests, made.peers)
        for part, packed in made.packed:
            add_neurons(packed, 0, self.exchange.gives[part], gradient)

    def close(self) -> None:
        """Free the requests."""
        while self._made:
            self._drop_oldest()

    def _requests(self, direction: int, array: Panels) -> _Requests:
        key = direction, array.__array_interface__["data"][0], array.shape
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= KEPT:
                self._drop_oldest()
            made = self._made[key] = self._make(direction, array)
        self._made.move_to_end(key)
        return made

    def _make(self, direction: int, array: Panels) -> _Requests:
        """Forward, outgoing neurons are packed and incoming ones placed; backward the reverse."""
        mpi, exchange = import_mpi(), self.exchange
        panels, width, lanes = array.shape
        made = _Requests([], [], [], [], array if array.base is None else array.base)
        pack, place = self._comm.Send_init, self._comm.Recv_init
        if direction == BACKWARD:
            pack, place = self._comm.Recv_init, self._comm.Send_init
        for part, (begin, end) in enumerate(pairwise(exchange.starts)):
            if end > begin:
                kind = mpi.FLOAT.Create_vector(panels, (end - begin) * lanes, width * lanes)
                made.types.append(kind.Commit())
                there = array.reshape(-1)[begin * lanes :]
                made.requests.append(place([there, 1, kind], part, direction))
                made.peers.append(self._first_rank + part)
            if len(exchange.gives[part]):
                packed = empty_panels(panels, len(exchange.gives[part]), lanes)
                made.packed.append((part, packed))
                made.requests.append(pack([packed, mpi.FLOAT], part, direction))
                made.peers.append(self._first_rank + part)
        return made

    def _drop_oldest(self) -> None:
        _, made = self._made.popitem(last=False)
        for each in (*made.requests, *made.types):
            each.Free()


