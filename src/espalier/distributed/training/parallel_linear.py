"""Linear layers of which every part holds a share, for training with PyTorch (SpFF and SpBP).

A column-parallel layer holds the rows of the weights, and so the outputs, that are its part's; a
row-parallel one holds the inputs. The words are of Megatron, which multiplies by the transpose.

Forward, a part receives the activations that its rows read and others own. Backward, it sends its
partial sums of their gradients back. The gradients of its weights need nothing from others, so any
optimiser works on the rows that are here.

Source: G. V. Demirci and H. Ferhatosmanoglu, "Partitioning Sparse Deep Neural Networks for
Scalable Training and Inference", ICS 2021.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.distributed.comm.transport import Channel
from espalier.distributed.comm.world import World
from espalier.distributed.training.buffer_pool import BufferPool
from espalier.errors import InputError
from espalier.kernels import Pattern
from espalier.kernels.panels import Panels


class ColumnParallelSparseLinear(nn.Module):
    """This part's outputs of ``x @ W.T + bias``, with the activations that other parts own.

    Takes ``[batch, own neurons before the layer]`` and gives ``[batch, own rows]``; all parts call
    it in the same order, with the same batch.

    Arguments:
        row_offsets, column_indices: pattern of the rows over what the part sees: its own neurons,
            then those it receives.
        values, bias: of the rows, float32; bias may be None.
        channel: exchanges before this layer.
        pool: of buffers, for the outputs.
        room: neurons that the next layer receives, for which outputs leave room.
        name: of the layer, for errors and the heartbeat.

    Attributes:
        values: parameter ``[nonzeros of the rows]``.
        bias: parameter ``[rows]``, or None.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        row_offsets: NDArray[np.int64],
        column_indices: NDArray[np.int32],
        values: Tensor,
        bias: Tensor | None,
        channel: Channel,
        pool: BufferPool,
        *,
        room: int = 0,
        world: World,
        name: str = "layer",
    ) -> None:
        super().__init__()
        exchange = channel.exchange
        self.pattern = Pattern(row_offsets, column_indices, exchange.width)
        self.in_features, self.out_features = exchange.local, self.pattern.shape[0]
        self.values = nn.Parameter(values)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.channel, self.pool, self.room = channel, pool, room
        self.world, self.name = world, name

    def forward(self, input: Tensor) -> Tensor:
        """The own rows; input is ``[batch, own neurons]``, float32 on the CPU."""
        if input.dim() != 2 or input.shape[1] != self.in_features or input.dtype != torch.float32:
            raise InputError(
                f"{self.name}: input is {input.dtype} {list(input.shape)}, wanted float32 "
                f"[batch, {self.in_features}]: the neurons that this part owns"
            )
        y: Tensor = _Multiply.apply(input, self.values, self.bias, self)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        """What `print` shows."""
        exchange = self.channel.exchange
        return (
            f"own_in={self.in_features}, received={exchange.words_received}, "
            f"own_out={self.out_features}, nonzeros={self.pattern.nonzeros}"
        )


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, layer: ColumnParallelSparseLinear
    ) -> Tensor:
        layer.world.timeout.enter(f"forward, {layer.name}")
        exchange = layer.channel.exchange
        seen = layer.pool.panels(x, exchange.width)
        kept = x
        if seen is None:
            kept = layer.pool.allocate(len(x), exchange.width, exchange.local)
            kept.copy_(x.detach())
            seen = _panels(layer.pool, kept, exchange.width)
        layer.channel.start(seen)
        layer.channel.finish(seen)
        rows = layer.out_features
        y = layer.pool.allocate(len(x), rows + layer.room, rows)
        layer.pattern.spmm(
            values.detach().numpy(),
            seen[0].T,
            None if bias is None else bias.detach().numpy(),
            out=_panels(layer.pool, y, rows)[0].T,
            threads=torch.get_num_threads(),
        )
        # `kept` holds the memory of `seen`; what was x is checked for changes by PyTorch.
        ctx.layer, ctx.seen, ctx.kept = layer, seen, kept.detach()
        ctx.save_for_backward(x, values)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        layer: ColumnParallelSparseLinear = ctx.layer
        layer.world.timeout.enter(f"backward, {layer.name}")
        exchange = layer.channel.exchange
        _, values = ctx.saved_tensors
        by_x, by_values, by_bias = ctx.needs_input_grad[:3]
        dx = layer.pool.allocate(len(dy), exchange.width, exchange.local) if by_x else None
        partial = None if dx is None else _panels(layer.pool, dx, exchange.width)
        gradients = layer.pattern.backward(
            values.detach().numpy(),
            ctx.seen[0].T,
            dy.detach().numpy(),
            needs_input_grad=(by_x, by_values, by_bias),
            dx=None if partial is None else partial[0].T,
            threads=torch.get_num_threads(),
        )
        if partial is not None:
            layer.channel.fold(partial)
        by = (None if each is None else torch.from_numpy(each) for each in gradients[1:])
        return dx, *by, None


class RowParallelLinear(nn.Module):
    """``x @ W.T + bias`` where every part holds the inputs that it owns.

    Suits a last layer of few outputs: each part multiplies its own neurons, and the few sums are
    added up, in the order of parts, on every one of them.

    Arguments:
        weight: ``[outputs, own neurons]``.
        bias: ``[outputs]``, the same on every part; or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, world: World) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.world = world

    def forward(self, input: Tensor) -> Tensor:
        """The whole outputs ``[batch, outputs]``, the same on every part."""
        partial = nn.functional.linear(input, self.weight)
        total: Tensor = _AllReduce.apply(partial, self.world)  # type: ignore[no-untyped-call]
        return total if self.bias is None else total + self.bias

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"own_in={self.weight.shape[1]}, out={self.weight.shape[0]}"


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, partial: Tensor, world: World) -> Tensor:
        if world.parts == 1:
            return partial.clone()
        world.timeout.enter("forward, adding up the last layer")
        mine = np.ascontiguousarray(partial.detach().numpy()).reshape(-1)
        pieces = world.gather(mine, world.within)
        total = pieces[0].copy()
        for piece in pieces[1:]:
            total += piece
        return torch.from_numpy(total).view(partial.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _panels(pool: BufferPool, tensor: Tensor, neurons: int) -> Panels:
    panels = pool.panels(tensor, neurons)
    assert panels is not None
    return panels
