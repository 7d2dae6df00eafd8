"""Two ranks that were given different partitions."""

import numpy as np

import espalier as esp
from espalier.cli.ranks import on_rank
from espalier.distributed import DistributedPlan, World

with on_rank(World) as world:
    owners = [np.roll(np.arange(8) % 2, world.rank).astype(np.int32)] * 2
    DistributedPlan(esp.Network([esp.Layer(np.eye(8), 0.0)]), owners, world)
