"""Run and train a partitioned network on many processes, by MPI.

`DistributedPlan` and `Simulation` need no torch; `espalier.distributed.training` does.
`Placement` is an alias of `IndexMap`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.index_map import IndexMap, Placement
from espalier.distributed.comm.world import World
from espalier.distributed.inference.plan import DistributedPlan
from espalier.distributed.inference.result import DistributedReport, DistributedResult
from espalier.distributed.simulator import Machine, Simulation

if TYPE_CHECKING:
    from espalier.distributed.training import DistributedModel, DistributedSparseLinear

__all__ = [
    "DistributedModel",
    "DistributedPlan",
    "DistributedReport",
    "DistributedResult",
    "DistributedSparseLinear",
    "Exchange",
    "IndexMap",
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
