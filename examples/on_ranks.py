"""Run and train a sparse network that is cut into two parts, on two processes or four.

    mpiexec -n 2 python -m mpi4py examples/on_ranks.py

Every process runs this file. With four there are two replicas of the two parts: in inference they
share the samples, in training each batch. As root Open MPI wants --allow-run-as-root, on fewer
cores than processes --oversubscribe.
"""

import torch
from torch.nn.functional import cross_entropy

import espalier as esp
from espalier.distributed import DistributedModel, DistributedPlan, World
from espalier.distributed.training import sparse_network
from espalier.nn.networks import RadixNet

PARTS, STEPS, BATCH = 2, 20, 64


def main() -> None:
    world = World(parts=PARTS)  # of all processes; as many replicas as there are pairs
    infer(world)
    train(world)


def infer(world: World) -> None:
    """The samples of the challenge through one of its networks."""
    net = esp.radixnet(1024, layers=12)
    partition = esp.partition(net, PARTS)  # the same on every process; or esp.load_partition(file)
    plan = DistributedPlan(net, partition.owners, world)  # packs the rows of this part alone
    result = plan.run(esp.challenge_images(1024, 500))
    if world.rank == 0:
        words, seconds = result.report().words, result.seconds
        print(f"{len(result.categories)} categories, {words:,} words in {seconds:.3f} s")
    plan.close()


def train(world: World) -> None:
    """A classifier of sparse layers, behind which a dense one has the scores on every process."""
    torch.manual_seed(0)  # the same first weights on every process
    whole = RadixNet(256, 3, side=16, num_classes=10)
    owners = esp.partition(sparse_network(whole), PARTS).owners
    model = DistributedModel(whole, owners, world)  # an nn.Module of this part's rows
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images, labels = torch.rand(BATCH, 1, 16, 16), torch.randint(10, (BATCH,))
    mine = slice(world.replica, None, world.replicas)  # the samples of this replica
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = cross_entropy(model(images[mine]), labels[mine])
        loss.backward()
        model.reduce_gradients()  # over replicas
        optimizer.step()
        if world.rank == 0 and step in (0, STEPS - 1):
            print(f"step {step + 1}: loss {loss.item():.4f}")
    model.close()


if __name__ == "__main__":
    main()
