"""Sparse layers in several processes: data-parallel training, and after a fork."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from espalier.nn import SparseLinear
from espalier.nn.sparse.updaters import RigL

BATCH, STEPS = 8, 6


def make() -> tuple[nn.Module, torch.optim.Optimizer, RigL]:
    torch.manual_seed(0)
    model = nn.Sequential(
        SparseLinear(20, 16, density=0.3), nn.ReLU(), SparseLinear(16, 4, density=0.5)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return model, optimizer, RigL(model, optimizer, steps=20, every=2)


def train(model: nn.Module, optimizer: Any, updater: RigL, part: slice) -> list[torch.Tensor]:
    for step in range(STEPS):
        x = torch.randn(BATCH, 20, generator=torch.Generator().manual_seed(step))[part]
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        updater.step()
    return [layer.to_dense().detach() for layer in updater.layers]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    model, optimizer, updater = make()
    parallel = nn.parallel.DistributedDataParallel(model)
    half = BATCH // 2
    result = train(parallel, optimizer, updater, slice(rank * half, (rank + 1) * half))
    torch.save(result, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    alone = train(*make(), slice(None))
    for rank in range(2):
        for mine, theirs in zip(torch.load(tmp_path / f"{rank}.pt"), alone, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def run_layer(layer: SparseLinear, x: torch.Tensor, queue: Any) -> None:
    queue.put(layer(x).detach().tolist())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_computes_the_same() -> None:
    layer, x = SparseLinear(300, 300, density=0.2), torch.randn(64, 300)
    expected = layer(x).tolist()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=run_layer, args=(layer, x, queue))
    child.start()
    found = queue.get()
    child.join(30)
    assert child.exitcode == 0
    assert found == expected
