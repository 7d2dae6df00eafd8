"""From a model whole to the part of it that a rank holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.distributed.comm.exchange import Exchange, find_takes
from espalier.distributed.comm.index_map import IndexMap, check_owners
from espalier.distributed.comm.transport import TransportName, open_transport
from espalier.distributed.comm.world import World, add_in_order
from espalier.distributed.training.buffer_pool import BufferPool
from espalier.distributed.training.parallel_linear import (
    ColumnParallelSparseLinear,
    RowParallelLinear,
)
from espalier.distributed.training.sharding import Shard
from espalier.errors import InputError
from espalier.network import Layer, Network
from espalier.network.csr import entries_of
from espalier.nn import SparseLinear

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Hardtanh)


class DistributedModel(nn.Module):
    """The part of a model that this rank holds; call it as the whole one, on every rank.

    Arguments:
        model: an `nn.Sequential` such as `espalier.nn.networks.RadixNet`: modules without
            parameters, then `SparseLinear` layers with elementwise functions between them, and
            perhaps an `nn.Linear` at the end. The same on every rank; it is not changed.
        owners: the part of every input, then of every row of each sparse layer, see
            `sparse_network` and `espalier.partition`.
        world: the ranks.
        transport: ``"shared"`` memory, ``"messages"``, or ``"auto"``.

    Attributes:
        layers: the modules of this part.
        shards: by the name of a parameter in the whole model, which of its rows are here.
        parts_of: by the same names, the parameters here.
        exchanges: what this part exchanges before each sparse layer but the first.

    Raises:
        InputError: a module that cannot be cut, or owners that do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        owners: Sequence[NDArray[np.int32]],
        world: World,
        *,
        transport: TransportName = "auto",
    ) -> None:
        super().__init__()
        check_owners(owners, sparse_network(model), world)
        self.world = world
        self.transport = open_transport(transport, world)
        self.shards: dict[str, Shard] = {}
        self.exchanges: list[Exchange] = []
        pool = BufferPool()
        sparse = _sparse_layers(model)
        local_rows = [_local_rows(each.layer, owners, n, world) for n, each in enumerate(sparse)]
        number_at = {each.position: n for n, each in enumerate(sparse)}
        layers: list[nn.Module] = []
        for position, (name, module) in enumerate(_named(model)):
            if position in number_at and isinstance(module, SparseLinear):
                number = number_at[position]
                local = local_rows[number]
                if number == 0:
                    layers += [_Select(local.inputs), local.first_layer(module)]
                else:
                    rest = local_rows[number + 1 :]
                    room = rest[0].exchange.words_received if rest else 0
                    layers.append(local.column_parallel(module, self.transport, pool, room, number))
                    self.exchanges.append(local.exchange)
                self.shards[f"{name}.values"] = Shard(local.rows, local.counts, local.order)
                if module.bias is not None:
                    one = np.ones_like(local.rows)
                    self.shards[f"{name}.bias"] = Shard(local.rows, one)
            elif isinstance(module, nn.Linear):
                neurons = np.flatnonzero(owners[-1] == world.part)
                layers.append(_row_parallel(module, neurons, world))
                counts = np.full(len(neurons), module.out_features)
                self.shards[f"{name}.weight"] = Shard(neurons, counts, by_column=True)
                if module.bias is not None:
                    self.shards[f"{name}.bias"] = Shard.everywhere(module.out_features)
            else:
                layers.append(module)
        self.layers = nn.Sequential(*layers)
        self.parts_of = dict(zip(self.shards, self.parameters(), strict=True))

    def forward(self, input: Tensor) -> Tensor:
        """What the whole model gives; where no `nn.Linear` ends it, this part's outputs."""
        output: Tensor = self.layers(input)
        return output

    def reduce_gradients(self) -> None:
        """Average the gradients over replicas; call it between backward and the optimiser's step.

        Parts need nothing of the kind: the gradients of their rows are whole.
        """
        if self.world.replicas == 1:
            return
        self.world.timeout.enter("averaging gradients over replicas")
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        add_in_order(self.world, self.world.across, flat.numpy())
        flat /= self.world.replicas
        for gradient, mean in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))

    def close(self) -> None:
        """Give back requests and shared memory; all ranks do so together."""
        self.transport.close()

    @torch.no_grad()
    def gather_into(self, whole: nn.Module) -> None:
        """On rank 0, put the parameters of all parts into the whole model; all ranks call it."""
        targets = dict(whole.named_parameters())
        for name, shard in self.shards.items():
            pieces = self._gather(shard.pack(self.parts_of[name]).numpy())
            rows, counts = self._gather(shard.rows), self._gather(shard.counts)
            if self.world.rank:
                continue
            count = 1 if shard.replicated else self.world.parts
            written, sizes = np.concatenate(rows[:count]), np.concatenate(counts[:count])
            all_counts = np.empty_like(sizes)
            all_counts[written] = sizes
            every = Shard(np.arange(len(written)), all_counts, by_column=shard.by_column)
            places = every.find(written, sizes)
            assert places is not None
            packed = torch.from_numpy(np.concatenate(pieces[:count])[places])
            targets[name].copy_(every.unpack(packed, targets[name]))

    def _gather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        return self.world.gather(np.ascontiguousarray(array), self.world.within)


def sparse_network(model: nn.Module) -> Network:
    """The sparse layers of a model as a network to partition; biases and functions are left out.

    >>> from espalier.nn.networks import RadixNet
    >>> sparse_network(RadixNet(64, 2, side=8, num_classes=10))
    Network(2 layers, 64 -> 64, 4,096 connections)
    """
    return Network(
        Layer.from_csr(
            each.layer.row_offsets.numpy(),
            each.layer.column_indices.numpy(),
            each.layer.values.detach().numpy(),
            each.layer.in_features,
            bias=0.0,
        )
        for each in _sparse_layers(model)
    )


class _Positioned(NamedTuple):
    """A sparse layer and its position among the modules."""

    position: int
    layer: SparseLinear


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of a sequence, in order; `named_children` leaves out those that come again."""
    return [(name, module) for name, module in model._modules.items() if module is not None]


def _sparse_layers(model: nn.Module) -> list[_Positioned]:
    """The sparse layers of a model that can be cut.

    Raises:
        InputError: none, or a module between or behind them that cannot be cut.
    """
    if not isinstance(model, nn.Sequential):
        raise InputError(f"model is a {type(model).__name__}, wanted an nn.Sequential of layers")
    modules = [module for _, module in _named(model)]
    sparse = [
        _Positioned(position, module)
        for position, module in enumerate(modules)
        if isinstance(module, SparseLinear)
    ]
    if not sparse:
        raise InputError("the model has no SparseLinear layer: there is nothing to distribute")
    if len({each.layer for each in sparse}) < len(sparse):
        raise InputError("a SparseLinear stands in the model twice, wanted a layer for each place")
    for position, module in enumerate(modules):
        before = position < sparse[0].position
        fine = (
            not any(True for _ in module.parameters())
            if before
            else isinstance(module, (SparseLinear, *ELEMENTWISE))
            or (isinstance(module, nn.Linear) and position == len(modules) - 1)
        )
        if not fine:
            raise InputError(
                f"module {position} is a {type(module).__name__}, which cannot be cut into parts; "
                "wanted modules without parameters, then SparseLinear layers with elementwise "
                "functions, and at most one nn.Linear at the end"
            )
    return sparse


class _LocalRows(NamedTuple):
    """This part's rows of one sparse layer.

    Attributes:
        rows: the rows, of the whole layer.
        counts: non-zeros of each.
        offsets, columns: their pattern over what the part sees.
        entries: for each non-zero, its place among the values of the whole layer.
        order: for each non-zero, its place when the rows are as in the whole layer.
        inputs: the neurons the part sees, of the whole layer.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    entries: NDArray[np.int64]
    order: NDArray[np.int64]
    inputs: NDArray[np.int64]
    exchange: Exchange

    def first_layer(self, whole: SparseLinear) -> SparseLinear:
        """These rows as an ordinary layer over the inputs they read."""
        pattern = self.offsets, self.columns
        layer = SparseLinear(
            len(self.inputs), len(self.rows), whole.bias is not None, pattern=pattern
        )
        with torch.no_grad():
            layer.values.copy_(self._values(whole))
            if whole.bias is not None and layer.bias is not None:
                layer.bias.copy_(whole.bias[torch.from_numpy(self.rows)])
        return layer

    def column_parallel(
        self, whole: SparseLinear, transport: Any, pool: BufferPool, room: int, number: int
    ) -> ColumnParallelSparseLinear:
        """These rows as a layer that exchanges."""
        bias = None if whole.bias is None else whole.bias.detach()[torch.from_numpy(self.rows)]
        return ColumnParallelSparseLinear(
            self.offsets,
            self.columns,
            self._values(whole),
            bias,
            transport.channel(self.exchange),
            pool,
            room=room,
            world=transport.world,
            name=f"layer {number}",
        )

    def _values(self, whole: SparseLinear) -> Tensor:
        return whole.values.detach()[torch.from_numpy(self.entries)]


def _local_rows(
    layer: SparseLinear, owners: Sequence[NDArray[np.int32]], number: int, world: World
) -> _LocalRows:
    part = world.part
    rows = np.flatnonzero(owners[number + 1] == part)
    offsets, entries = entries_of(layer.row_offsets.numpy(), rows)
    counts = np.diff(offsets)
    columns = layer.column_indices.numpy()[entries]
    if number == 0:  # every rank has all inputs, and takes those its rows read
        inputs, index = np.unique(columns, return_inverse=True)
        exchange = Exchange(part, len(inputs), (), ())
        renumbered = index.astype(np.int32)
    else:
        index_map = IndexMap.of(owners[number], world.parts)
        place, takes = find_takes(columns, index_map, part)
        exchange = Exchange(part, int(index_map.counts[part]), tuple(world.swap(takes)), takes)
        inputs, renumbered = np.empty(0, np.int64), place[columns]
    order = np.lexsort((renumbered, np.repeat(np.arange(len(rows)), counts)))
    columns, entries = renumbered[order], entries[order]
    return _LocalRows(rows, counts, offsets, columns, entries, order, inputs, exchange)


class _Select(nn.Module):
    """Some inputs of all."""

    def __init__(self, inputs: NDArray[np.int64]) -> None:
        super().__init__()
        self.register_buffer("inputs", torch.from_numpy(inputs), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """The columns that this part reads."""
        return input.index_select(1, self.get_buffer("inputs"))


def _row_parallel(module: nn.Linear, neurons: NDArray[np.int64], world: World) -> RowParallelLinear:
    bias = None if module.bias is None else module.bias.detach().clone()
    weight = module.weight.detach()[:, torch.from_numpy(neurons)].contiguous()
    return RowParallelLinear(weight, bias, world)
