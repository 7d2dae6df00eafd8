"""What to measure: networks, numbers of parts, and the work of the ranks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from espalier.errors import InputError
from espalier.timing.interleave import ROUNDS

EXCHANGED = (4096, 65536)  # floats that a rank gives another in one exchange


@dataclass(frozen=True)
class Settings:
    """The settings of one benchmark run.

    Arguments:
        neurons: of challenge networks to partition.
        layers: of each.
        parts: numbers of parts.
        network_file: partition this network in their place.
        random: random networks to partition too, of as many neurons.
        sweeps: of the hypergraph method.
        ranks: of section ``ranks``.
        wide: neurons of its network.
        deep: layers of it.
        batch: samples of it.
        rounds: timed rounds of each candidate.
    """

    neurons: tuple[int, ...] = (1024, 4096, 16384)
    layers: int = 120
    parts: tuple[int, ...] = (8, 32, 128, 512)
    network_file: str | None = None
    random: tuple[int, ...] = (1024,)
    sweeps: int = 0
    ranks: int = 2
    wide: int = 16384
    deep: int = 120
    batch: int = 256
    rounds: int = ROUNDS

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
