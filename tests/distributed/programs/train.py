"""Train a small network on these ranks; rank 0 prints losses and checksums of all weights."""

import hashlib
import json
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

import espalier as esp
from espalier import fssl
from espalier.distributed import World
from espalier.distributed.training import (
    DistributedModel,
    network_to_cut,
    sparse_network,
    train,
)
from espalier.nn import SparseLinear
from espalier.nn.networks import RadixNet
from espalier.training import Settings

SETTINGS = Settings(model="radixnet:64x3", method="dense", epochs=2, batch=48, threads=1)


def one_process():
    """The same steps by PyTorch alone."""
    from espalier.training.context import build_start
    from espalier.training.data import load
    from espalier.training.learning_rate import cosine, make_optimizer, recipe

    data = load("digits", seed=0)
    model = build_start(SETTINGS, data)
    optimizer = make_optimizer(model, SETTINGS)
    steps, done, losses = len(data.train) // SETTINGS.batch, 0, []
    for epoch in range(SETTINGS.epochs):
        total = 0.0
        for images, labels in data.train.batches(SETTINGS.batch, seed=0, epoch=epoch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = recipe(SETTINGS).lr * cosine(done / (steps * SETTINGS.epochs))
            optimizer.step()
            total, done = total + loss.item(), done + 1
        losses.append(total / steps)
    return losses


def gradients(world):
    """One step of a model whose layers are called in odd ways: no ReLU in place, twice forward."""
    torch.manual_seed(5)
    whole = RadixNet(64, 3, side=8, num_classes=3)
    for module in whole:
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    x = torch.rand(10, 1, 8, 8)
    owners = esp.partition(esp.radixnet(64, 3, bias=0.0), world.parts, "hash").owners
    gap = 0.0
    for transport in ("messages", "shared"):
        model = DistributedModel(whole, owners, world, transport=transport)
        (model(x) * model(x + 1.0)).sum().backward()
        whole.zero_grad()
        (whole(x) * whole(x + 1.0)).sum().backward()
        for name, parameter in whole.named_parameters():
            shard, mine = model.shards[name], model.parts_of[name]
            every = parameter.grad.t() if shard.by_column else parameter.grad
            if shard.replicated:
                wanted = every
            elif name.endswith("values"):
                offsets = whole[int(name.partition(".")[0])].row_offsets
                rows = [every[offsets[r] : offsets[r + 1]] for r in shard.rows]
                wanted = torch.cat([*rows, every[:0]])
            else:
                wanted = every[torch.from_numpy(shard.rows)]
            packed = shard.pack(mine.grad)
            scale = float(every.abs().max())
            gap = max(gap, float((packed - wanted.reshape(-1)).abs().sum()) / scale)
        model.close()
    gap = max(gap, one_function_in_two_places(world))
    return max(float(each[0]) for each in world.gather(np.array([gap])))


def one_function_in_two_places(world):
    """How far the outputs of a model with names are off, in which one Tanh stands twice."""
    torch.manual_seed(6)  # the same layers and inputs on every rank
    x = torch.rand(5, 16)
    tanh = torch.nn.Tanh()
    first, second = (SparseLinear(16, 16, density=0.3) for _ in range(2))
    last = torch.nn.Linear(16, 3)
    named = {"one": first, "f": tanh, "two": second, "g": tanh, "last": last}
    whole = torch.nn.Sequential(OrderedDict(named))
    owners = esp.partition(sparse_network(whole), world.parts, "block").owners
    model = DistributedModel(whole, owners, world)
    with torch.no_grad():
        gap = float((model(x) - whole(x)).abs().max())
    model.gather_into(whole)
    model.close()
    return gap


def main():
    world = World(int(sys.argv[1]))
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    resume = len(sys.argv) > 3
    owners = esp.partition(network_to_cut(SETTINGS), world.parts, "hash").owners
    notices = []
    epochs = train(SETTINGS, owners, world, folder, resume=resume, on_notice=notices.append)
    gap = gradients(world)
    if world.rank == 0:
        answer = {
            "losses": [epoch.loss for epoch in epochs],
            "alone": one_process(),
            "gap": gap,
            "notices": notices,
        }
        if folder is not None:
            state = fssl.load(folder / "model.safetensors").state_dict()
            digest = hashlib.sha256()
            for tensor in state.values():
                digest.update(tensor.numpy().tobytes())
            answer["model"] = digest.hexdigest()
        print(json.dumps(answer))


np.seterr(all="raise", under="ignore")
main()
