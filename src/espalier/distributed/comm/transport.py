"""How activations travel between the parts of a replica, whatever carries them."""

from __future__ import annotations

from typing import Literal, Protocol

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.messages import Messages
from espalier.distributed.comm.shared_memory import SharedMemory
from espalier.distributed.comm.world import World
from espalier.errors import InputError
from espalier.kernels.panels import Panels

TransportName = Literal["auto", "messages", "shared"]
TRANSPORTS: tuple[TransportName, ...] = ("auto", "messages", "shared")


class Channel(Protocol):
    """One exchange, ready to be used in every step.

    Arrays are ``[panels, at least exchange.width, lanes]``: the part's own neurons first, then
    those it receives. All parts use their channels in the same order, with equal panels and lanes.
    """

    exchange: Exchange

    def start(self, x: Panels) -> None:
        """Send what others read of this part's own neurons; what comes may arrive any time."""

    def finish(self, x: Panels) -> None:
        """Wait until all received neurons are in ``x``, the array that `start` was given."""

    def fold(self, gradient: Panels) -> None:
        """Send partial sums back to the owners, and add theirs to this part's own neurons.

        They are added in the order of parts, whenever they arrive.
        """


class Transport(Protocol):
    """Makes channels; all parts of a replica do so in the same order."""

    name: str
    overlaps: bool  # whether data travels while this process computes

    def channel(self, exchange: Exchange) -> Channel:
        """A channel for one exchange."""

    def close(self) -> None:
        """Give back what the channels hold; they cannot be used after it."""


def open_transport(name: TransportName, world: World) -> Transport:
    """The transport of this name; ``"auto"``: shared memory where all parts share a machine.

    Raises:
        InputError: no such transport, or the parts do not share memory.
    """
    if name not in TRANSPORTS:
        raise InputError(f"transport is {name!r}, wanted one of {', '.join(TRANSPORTS)}")
    together = world.one_machine
    if name == "shared" and not together:
        raise InputError(
            "transport is 'shared', but the parts of a replica run on several machines; give "
            "'messages' or 'auto'"
        )
    return Messages(world) if name == "messages" or not together else SharedMemory(world)
