"""Run networks on these ranks in every way; rank 0 prints how far all are from one process."""

import hashlib
import json
import sys

import numpy as np
import scipy.sparse as sp

import espalier as esp
from espalier.distributed import DistributedPlan, World

PARTS = int(sys.argv[1])


def networks():
    yield "challenge", esp.radixnet(256, 20, bias=-0.3), esp.challenge_images(256, 70)
    yield (
        "random",
        esp.random_network([64, 50, 70, 33], connections=9),
        np.random.default_rng(0).random((37, 64), np.float32),
    )
    narrow = esp.random_network([5, 2, 3, 1], connections=2)
    yield "narrow", narrow, np.random.default_rng(1).random((3, 5), np.float32)
    yield "none", esp.radixnet(64, 3), sp.csr_array((0, 64), dtype=np.float32)
    wakes = esp.Network([esp.Layer(np.eye(8), 0.5), esp.Layer(np.eye(8), 0.0)])
    yield "dead", wakes, np.zeros((5, 8), np.float32)
    full = esp.Network([esp.Layer(np.full((6, 6), 2.0), -0.1, clip=4.0)] * 30)
    yield "saturated", full, np.random.default_rng(2).random((40, 6), np.float32)


def late_nan(world):
    """What a NaN in the last of many samples says, and how far the next run is off."""
    net = esp.random_network([64, 50, 70, 33], connections=9)
    x = np.random.default_rng(0).random((3000, 64), np.float32)
    owners = esp.partition(net, PARTS, "block").owners
    plan = DistributedPlan(net, owners, world, transport="messages")
    broken = x.copy()
    broken[-1, 5] = np.nan
    said = ""
    try:
        plan.run(broken)
    except esp.InputError as error:
        said = str(error)
    found = plan.run(x).gather()
    plan.close()
    gap = 0.0 if found is None else np.abs(found - esp.infer(net, x).activations).max()
    return said, float(gap)


def main():
    world = World(PARTS)
    found = {}
    digest = hashlib.sha256()
    for name, net, x in networks():
        expected = esp.infer(net, x)
        for transport in ("messages", "shared"):
            for merge in (True, False):
                owners = esp.partition(net, PARTS, "hash", seed=3).owners
                plan = DistributedPlan(net, owners, world, merge=merge, transport=transport)
                for filter in ("zero", "none"):
                    for _ in range(2):  # requests are used again
                        result = plan.run(x, filter)
                    activations = result.gather()
                    if world.rank == 0:
                        gap = np.abs(activations - expected.activations).max(initial=0.0)
                        same = np.array_equal(result.categories, expected.categories)
                        key = f"{name} {transport} {merge} {filter}"
                        found[key] = [float(gap), bool(same), result.report().words]
                        digest.update(activations.tobytes())
                plan.close()
    bad = {}
    huge = esp.Network([esp.Layer(np.full((4, 4), 1e30), 0.0)] * 2)
    for name, x in (("nan", np.full((2, 4), np.nan)), ("overflow", np.ones((2, 4)))):
        plan = DistributedPlan(huge, esp.partition(huge, PARTS, "block").owners, world)
        try:
            plan.run(x)
        except esp.InputError as error:
            bad[name] = str(error)
        plan.close()
    cancels = esp.Layer([[1.0, -1.0, 1.0, -1.0]], 0.0, clip=32.0)
    hidden = esp.Network([*huge, cancels])
    plan = DistributedPlan(hidden, esp.partition(hidden, PARTS, "block").owners, world)
    try:
        plan.run(np.ones((2, 4)))
    except esp.InputError as error:
        bad["hidden"] = str(error)
    plan.close()
    bad["late"], bad["then"] = late_nan(world)
    if world.rank == 0:
        found["bad"] = bad
        print(json.dumps({"found": found, "digest": digest.hexdigest()}))


main()
