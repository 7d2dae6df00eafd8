"""Run and train a partitioned network on many processes, by MPI.

`DistributedPlan` and `Simulation` need no torch; `espalier.distributed.training` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from espalier.distributed.exchange import Exchange
from espalier.distributed.placement import Placement
from espalier.distributed.plan import DistributedPlan
from espalier.distributed.result import DistributedReport, DistributedResult
from espalier.distributed.simulator import Machine, Simulation
from espalier.distributed.world import World

if TYPE_CHECKING:
    from espalier.distributed.training import DistributedModel, DistributedSparseLinear

__all__ = [
    "DistributedModel",
    "DistributedPlan",
    "DistributedReport",
    "DistributedResult",
    "DistributedSparseLinear",
    "Exchange",
    "Machine",
    "Placement",
    "Simulation",
    "World",
]

_NEED_TORCH = {"DistributedModel", "DistributedSparseLinear"}


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for: torch takes a second, and is optional."""
    if name in _NEED_TORCH:
        return getattr(import_module("espalier.distributed.training"), name)
    raise AttributeError(f"module 'espalier.distributed' has no attribute {name!r}")
