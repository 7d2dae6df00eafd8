"""Two ranks that were given different partitions."""

import numpy as np

from espalier.cli.ranks import on_rank
from espalier.distributed import World
from espalier.partitioning import Partition

with on_rank(World) as world:
    owners = [np.roll(np.arange(8) % 2, world.rank).astype(np.int32)] * 2
    world.agree("the partition", Partition(2, owners, "block").fingerprint)
