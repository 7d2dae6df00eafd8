"""Exchanges by MPI messages: persistent requests, no indices on the wire.

What is received goes straight into its place behind the part's own neurons where that is one
piece, in arrays of one panel; else by way of a packed copy, since MPI gathers pieces slower than we
do. A request belongs to the arrays it was made for: those who reuse arrays reuse requests.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.world import World, import_mpi
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
        self._scratch: dict[tuple[int, str, int], NDArray[np.float32]] = {}

    def channel(self, exchange: Exchange) -> MessageChannel:
        """A channel for one exchange."""
        self._channels.append(MessageChannel(exchange, self))
        return self._channels[-1]

    def close(self) -> None:
        """Free all requests."""
        for channel in self._channels:
            channel.close()

    def scratch(self, array: Panels, way: str, part: int, words: int) -> Panels:
        """Room to pack what passes between an array and a part, ``[panels, words, lanes]``.

        The channels share it: an array is in one exchange at a time.
        """
        panels, _, lanes = array.shape
        key = array.__array_interface__["data"][0], way, part
        size = panels * words * lanes
        if key not in self._scratch or len(self._scratch[key]) < size:
            sides = (getattr(channel.exchange, way)[part] for channel in self._channels)
            most = max(map(len, sides))
            self._scratch[key] = empty_panels(panels, most, lanes).reshape(-1)
        return self._scratch[key][:size].reshape(panels, words, lanes)


class _Piece(NamedTuple):
    """What passes between this part and another: packed, and where it belongs in the array."""

    part: int
    packed: Panels
    first: int  # of the received neurons in the array; unused for the own ones, which are scattered


class _Requests(NamedTuple):
    """The requests of one array and the pieces they carry."""

    requests: list[MPI.Prequest]
    peers: list[int]
    given: list[_Piece]  # of the own neurons
    taken: list[_Piece]  # of the received neurons, those that are not one piece of the array
    memory: Panels  # kept: it must stay what the requests were made for


class MessageChannel:
    """One exchange by messages."""

    def __init__(self, exchange: Exchange, messages: Messages) -> None:
        self.exchange = exchange
        world = messages.world
        self._messages, self._world, self._comm = messages, world, world.within
        self._first_rank = world.replica * world.parts
        self._made: OrderedDict[tuple[int, int, tuple[int, ...]], _Requests] = OrderedDict()

    def start(self, x: Panels) -> None:
        """Send what others read of the own neurons."""
        made = self._requests(FORWARD, x)
        for piece in made.given:
            take_neurons(x, self.exchange.gives[piece.part], piece.packed)
        if made.requests:
            import_mpi().Prequest.Startall(made.requests)

    def finish(self, x: Panels) -> None:
        """Wait until all received neurons are in ``x``."""
        made = self._requests(FORWARD, x)
        if made.requests:
            self._world.timeout.wait(made.requests, made.peers)
        for piece in made.taken:
            np.copyto(x[:, piece.first : piece.first + piece.packed.shape[1]], piece.packed)

    def fold(self, gradient: Panels) -> None:
        """Send partial sums back, and add what comes in the order of parts."""
        made = self._requests(BACKWARD, gradient)
        for piece in made.taken:
            end = piece.first + piece.packed.shape[1]
            np.copyto(piece.packed, gradient[:, piece.first : end])
        if made.requests:
            import_mpi().Prequest.Startall(made.requests)
            self._world.timeout.wait(made.requests, made.peers)
        for piece in made.given:
            add_neurons(piece.packed, 0, self.exchange.gives[piece.part], gradient)

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
        mpi, exchange = import_mpi(), self.exchange
        made = _Requests([], [], [], [], array if array.base is None else array.base)
        send, receive = self._comm.Send_init, self._comm.Recv_init
        give, take = (send, receive) if direction == FORWARD else (receive, send)
        for part, (begin, end) in enumerate(pairwise(exchange.starts)):
            if end > begin:
                there = array[:, begin:end]
                if array.shape[0] > 1:
                    there = self._messages.scratch(array, "takes", part, int(end - begin))
                    made.taken.append(_Piece(part, there, int(begin)))
                made.requests.append(take([there, mpi.FLOAT], part, direction))
                made.peers.append(self._first_rank + part)
            if len(exchange.gives[part]):
                words = len(exchange.gives[part])
                packed = self._messages.scratch(array, "gives", part, words)
                made.given.append(_Piece(part, packed, 0))
                made.requests.append(give([packed, mpi.FLOAT], part, direction))
                made.peers.append(self._first_rank + part)
        return made

    def _drop_oldest(self) -> None:
        _, made = self._made.popitem(last=False)
        for request in made.requests:
            request.Free()
