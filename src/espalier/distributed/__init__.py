"""Run and train a partitioned network on many processes, by MPI.

`DistributedPlan` and `Simulation` need no torch; `espalier.distributed.training` does.
"""

from espalier.distributed.exchange import Exchange
from espalier.distributed.placement import Placement
from espalier.distributed.plan import DistributedPlan
from espalier.distributed.result import DistributedReport, DistributedResult
from espalier.distributed.simulator import Machine, Simulation
from espalier.distributed.world import World

__all__ = [
    "DistributedPlan",
    "DistributedReport",
    "DistributedResult",
    "Exchange",
    "Machine",
    "Placement",
    "Simulation",
    "World",
]
