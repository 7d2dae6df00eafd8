"""What a rank does for the section `ranks`; rank 0 prints the seconds of every round as JSON.

Started by `ranks.py` through mpiexec. One process alone and all ranks together are interleaved;
while rank 0 works alone, the others sleep.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import espalier as esp
from espalier.distributed import (
    DistributedPlan,
    DistributedResult,
    Exchange,
    Machine,
    Simulation,
    World,
)
from espalier.distributed.comm.transport import TransportName, open_transport
from espalier.kernels.panels import empty_panels
from espalier.partitioning import Partition
from espalier.timing.interleave import interleave

CALLS = 100  # exchanges in one timing
NAP = 5e-4  # seconds between two looks of a rank that has nothing to do


def main() -> None:
    """Measure what the first argument, a JSON object, asks for."""
    task = json.loads(sys.argv[1])
    measure = {"exchange": exchange, "inference": inference, "training": training}[task["what"]]
    world = World()
    found = measure(world, task)
    if world.rank == 0:
        print(json.dumps(found))


def exchange(world: World, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of one exchange in which every rank gives every other so many floats."""
    names: tuple[TransportName, ...] = ("messages", "shared")
    return {
        "seconds": {
            name: exchange_seconds(world, task["floats"], name, task["rounds"]) for name in names
        }
    }


def exchange_seconds(
    world: World, floats: int, transport_name: TransportName, rounds: int
) -> list[float]:
    """Seconds of an exchange, packing and placing included, for each round of some calls."""
    lanes = min(256, floats)
    words = floats // lanes
    every, none = np.arange(words, dtype=np.int64), np.empty(0, np.int64)
    places = tuple(none if part == world.part else every for part in range(world.parts))
    transport = open_transport(transport_name, world)
    channel = transport.channel(Exchange(world.part, words, places, places))
    x = empty_panels(1, words * world.parts, lanes)
    x[:] = world.rank

    def calls() -> None:
        for _ in range(CALLS):
            channel.start(x)
            channel.finish(x)

    timed = interleave({transport_name: partial(seconds_together, world, calls)}, rounds)
    transport.close()
    return [seconds / CALLS for seconds in timed[transport_name]]


def measured_machine(world: World, rate: float) -> Machine:
    """Latency and bandwidth of exchanges between these ranks, with a given rate of products."""
    few, many = 4096, 1 << 18
    both = [exchange_seconds(world, floats, "auto", rounds=5) for floats in (few, many)]
    short, long = (float(np.median(seconds)) for seconds in both)
    per_byte = max(long - short, 1e-12) / (4 * (many - few))
    return Machine(max(short - 4 * few * per_byte, 0.0), 1.0 / per_byte, rate)


def inference(world: World, task: dict[str, Any]) -> dict[str, Any]:
    """One process with one thread, then parts, then replicas, over the same batch."""
    net = network(task)
    shortcuts = bool(task["shortcuts"])
    x = esp.challenge_images(net.inputs, task["batch"])
    alone: Callable[[], object] | None = None
    if world.rank == 0:
        plan = esp.compile(net, merge=shortcuts, fold=shortcuts, fixed_point=shortcuts, threads=1)
        alone = lambda: plan.run(x, "zero" if shortcuts else "none")  # noqa: E731
    grids = {"parts": world.ranks, "replicas": 1}
    plans = {}
    for name, parts in grids.items():
        grid = World(parts, world.comm)
        owners = shared_partition(world, net, parts)
        plans[name] = DistributedPlan(
            net, owners, grid, merge=shortcuts, fixed_point=shortcuts, threads=1
        )

    def running(plan: DistributedPlan) -> Callable[[], DistributedResult]:
        return lambda: plan.run(x, "zero" if shortcuts else "none")

    runs = {name: running(plan) for name, plan in plans.items()}
    seconds = time_with_one(world, alone, runs, task["rounds"])
    reports = {name: runs[name]().report().to_dict() for name in runs}
    found = {"seconds": seconds, "words": {name: each["words"] for name, each in reports.items()}}
    if not shortcuts:
        alone_seconds = float(np.median(seconds["alone"]))
        machine = measured_machine(world, net.connections * task["batch"] / alone_seconds)
        owners = shared_partition(world, net, world.ranks)
        if world.rank == 0:
            simulation = Simulation.of(net, Partition(world.ranks, owners, "hypergraph"))
            found["predicted"] = {"parts": simulation.seconds(machine, task["batch"])}
    return found


def training(world: World, task: dict[str, Any]) -> dict[str, Any]:
    """A step of one process with one thread, then of parts, then of replicas."""
    import torch
    from torch.nn.functional import cross_entropy

    from espalier.distributed.training import DistributedModel, sparse_network
    from espalier.nn.networks import RadixNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    side, batch = round(task["neurons"] ** 0.5), task["batch"]
    whole = RadixNet(task["neurons"], task["layers"], side=side, num_classes=10)
    images, labels = torch.rand(batch, 1, side, side), torch.randint(0, 10, (batch,))
    net = sparse_network(whole)

    def step(model: Any, optimizer: Any, share: slice) -> None:
        optimizer.zero_grad()
        cross_entropy(model(images[share]), labels[share]).backward()
        if isinstance(model, DistributedModel):
            model.reduce_gradients()
        optimizer.step()

    runs: dict[str, Callable[[], object]] = {}
    words = {}
    for name, parts in {"parts": world.ranks, "replicas": 1}.items():
        grid = World(parts, world.comm)
        model = DistributedModel(whole, shared_partition(world, net, parts), grid)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        size = batch // grid.replicas
        share = slice(grid.replica * size, (grid.replica + 1) * size)
        runs[name] = lambda m=model, o=optimizer, s=share: step(m, o, s)  # type: ignore[misc]
        words[name] = sum(each.words_sent for each in model.exchanges)
    alone: Callable[[], object] | None = None
    if world.rank == 0:
        own = torch.optim.SGD(whole.parameters(), lr=1e-3, momentum=0.9)
        alone = lambda: step(whole, own, slice(0, batch))  # noqa: E731
    return {"seconds": time_with_one(world, alone, runs, task["rounds"]), "words": words}


def network(task: dict[str, Any]) -> esp.Network:
    """The network of a measurement, with its layers in memory."""
    make = esp.radixnet if task["kind"] == "radixnet" else esp.random_network
    return esp.Network(list(make(task["neurons"], task["layers"])))


def shared_partition(world: World, net: esp.Network, parts: int) -> list[Any]:
    """The partition that rank 0 makes, on every rank."""
    world.timeout.seconds = 3600.0
    owners = esp.partition(net, parts).owners if world.rank == 0 else []
    flat = np.concatenate([*owners, np.empty(0, np.int32)]).astype(np.int32)
    whole = world.gather(flat)[0]
    widths = [net.inputs, *(net.shape(index)[0] for index in range(len(net)))]
    return np.split(whole, np.cumsum(widths)[:-1])


def time_with_one(
    world: World,
    alone: Callable[[], object] | None,
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds of one process alone and of all ranks, interleaved, one number a round."""

    def seconds_alone() -> float:
        start = time.perf_counter()
        if alone is not None:
            alone()
        return time.perf_counter() - start

    measures = {name: partial(seconds_together, world, run) for name, run in runs.items()}
    return interleave({"alone": seconds_alone, **measures}, rounds)


def seconds_together(world: World, work: Callable[[], object]) -> float:
    """Seconds until the last rank is done."""
    sleep_until_all_are_here(world)
    world.barrier()
    start = time.perf_counter()
    work()
    world.barrier()
    return time.perf_counter() - start


def sleep_until_all_are_here(world: World) -> None:
    """A barrier that leaves the cores to whoever still works."""
    request = world.comm.Ibarrier()
    while not request.Test():
        time.sleep(NAP)


if __name__ == "__main__":
    main()
