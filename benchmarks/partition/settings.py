"""What to measure: networks, numbers of parts, and the work of the ranks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from typer import Option

from benchmarks.harness.section import Rounds
from espalier.errors import InputError
from espalier.timing.interleave import ROUNDS

EXCHANGED = (4096, 65536)  # floats that a rank gives another in one exchange


@dataclass(frozen=True)
class Settings:
    """The settings of one benchmark run.

    Arguments:
        random: random networks to partition too, of as many neurons.
    """

    neurons: Annotated[
        tuple[int, ...], Option(min=1, help="Challenge networks to partition; repeat.")
    ] = (1024, 4096, 16384)
    layers: Annotated[int, Option(min=1, help="Layers of each.")] = 120
    parts: Annotated[
        tuple[int, ...],
        Option(min=1, help="Numbers of parts; repeat. By default 8, 32, 128 and 512."),
    ] = (8, 32, 128, 512)
    network_file: Annotated[
        str | None, Option(metavar="PATH", help="Partition this network on file in their place.")
    ] = None
    random: tuple[int, ...] = (1024,)
    sweeps: Annotated[
        int, Option(min=0, help="Times every layer is cut again, neighbours fixed.")
    ] = 0
    ranks: Annotated[int, Option(min=1, help="Processes of section ranks.")] = 2
    wide: Annotated[int, Option(min=1, help="Neurons of its network.")] = 16384
    deep: Annotated[int, Option(min=1, help="Layers of it.")] = 120
    batch: Annotated[int, Option(min=1, help="Samples of it.")] = 256
    rounds: Rounds = ROUNDS

    @property
    def threads(self) -> int:
        """Threads of every process."""
        return 1

    def __post_init__(self) -> None:
        for name in ("layers", "sweeps", "ranks", "wide", "deep", "batch", "rounds"):
            if getattr(self, name) < (0 if name == "sweeps" else 1):
                raise InputError(f"{name} is {getattr(self, name)}, wanted 1 or more")
        if min((*self.neurons, *self.parts, *self.random), default=1) < 1:
            raise InputError(f"neurons {self.neurons}, parts {self.parts}: wanted 1 or more")

    def quick(self) -> Settings:
        """Small networks and few rounds: about a minute."""
        return replace(
            self, neurons=(1024,), layers=8, parts=(8,), random=(256,), wide=1024, deep=8, rounds=2
        )

    def public(self) -> dict[str, Any]:
        """The settings as JSON values for a report that others read."""
        return asdict(self)
