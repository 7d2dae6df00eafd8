"""The plan: the face of a compiled network on this machine, and `compile`, which makes one."""

from __future__ import annotations

from typing import Any, Literal, overload

from espalier.cuda import open_device, parse_device
from espalier.inference.cost import PANEL_BYTES, panels_in
from espalier.inference.execute import execute
from espalier.inference.gpu import GpuPlan
from espalier.inference.options import (
    ALL_SHORTCUTS,
    OUTPUTS,
    Filter,
    Options,
    Output,
    check_choice,
    check_memory,
    check_network,
)
from espalier.inference.pack import CpuPacker, CpuProgram
from espalier.inference.program import build_program
from espalier.inference.result import Result
from espalier.kernels import thread_count
from espalier.network import Network
from espalier.progress import Progress


class Plan:
    """A compiled network; make one with `compile`, run it as often as you like.

    Attributes:
        network: the network it came from.
        program: what compiling found and packed.
    """

    def __init__(
        self,
        network: Network,
        options: Options = ALL_SHORTCUTS,
        memory: int | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.memory, self.threads = check_memory(memory), threads
        thread_count(threads)
        self.program: CpuProgram = build_program(
            network,
            options,
            lambda layers: CpuPacker.choose(layers, options.group),
            self.memory // 2,
            progress,
        )

    def run(
        self,
        x: Any,
        filter: Filter = "unique",
        *,
        output: Output = "dense",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run all samples through the network.

        Arguments:
            x: ``[samples, inputs]``, numpy or scipy sparse; float32 CSR is taken without a copy.
                Non-zeros are added in the order they are stored in.
            filter: ``"none"``; ``"zero"``: samples that died are dropped, or share one row where
                a bias could wake them; ``"unique"``: samples of equal state share one row, too.
            output: kind of ``result.activations``: numpy, or scipy CSR.
            threads: as in `compile`; None takes the plan's.
            progress: called as ``progress(done, total)`` now and then, and at the end.

        Returns:
            A `Result`: ``.activations`` ``[samples, outputs]``, ``.categories``, ``.seconds``.

        Raises:
            InputError: samples that do not fit, are not finite, or an unknown option.

        >>> import numpy as np
        >>> from espalier import Layer
        >>> plan = compile(Network([Layer(np.eye(2), bias=-1.0)]))
        >>> plan.run([[3.0, 0.0], [0.5, 1.0]]).activations.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
        """
        check_choice("output", output, OUTPUTS)
        used = thread_count(self.threads if threads is None else threads)
        return execute(self.program, x, filter, used, progress, sparse=output == "csr")

    @property
    def network(self) -> Network:
        return self.program.network

    @property
    def tile(self) -> int:
        """Samples side by side in a panel."""
        return self.program.packer.tile

    @property
    def widths(self) -> list[int]:
        """Neurons behind each layer, after simplification."""
        return list(self.program.widths)

    @property
    def resident(self) -> bool:
        """Whether the packed weights stay in memory; else each run streams them."""
        return self.program.packed is not None

    @property
    def saturated(self) -> float | None:
        """The value a sample at the fixed point is full of: the last layer's clip."""
        return self.program.exits.clip

    @property
    def compile_seconds(self) -> float:
        """How long compiling took."""
        return self.program.compile_seconds

    def describe(self) -> str:
        """What compiling found and chose, in a few lines."""
        where = "in memory" if self.resident else "streamed from the network at each run"
        return self.program.describe(
            f"weights {where}",
            f"tile {self.tile} samples, "
            f"{panels_in(PANEL_BYTES, max(self.widths), self.tile)} panels a thread, "
            f"{self.program.blocks:,} dense blocks of rows that share columns",
        )

    def __repr__(self) -> str:
        return f"Plan({self.network!r}, tile={self.tile}, resident={self.resident})"


@overload
def compile(
    network: Network,
    *,
    device: Literal["cpu"] = "cpu",
    merge: bool = True,
    fold: bool = True,
    group: bool = True,
    fixed_point: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Plan: ...
@overload
def compile(
    network: Network,
    *,
    device: str,
    merge: bool = True,
    fold: bool = True,
    group: bool = True,
    fixed_point: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Plan | GpuPlan: ...
def compile(
    network: Network,
    *,
    device: str = "cpu",
    merge: bool = True,
    fold: bool = True,
    group: bool = True,
    fixed_point: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Plan | GpuPlan:
    """Compile a network into a plan for this machine.

    Arguments:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; a GPU gives a `GpuPlan`.
        merge: neurons with equal weights and bias, bit for bit, become one.
        fold: neurons that do not depend on the sample become numbers; unread ones disappear.
        group: rows that share their columns become dense blocks where that is faster.
        fixed_point: samples full of ``clip`` are finished where all later layers keep them so.
        threads: threads of the CPU to use; None for OpenMP's default.
        memory: budget in bytes for packed weights and activations, of the device that runs; None
            for half of the memory free now, of a GPU for nine tenths. A network over budget is
            streamed: its layers are made or copied anew in each run.
        progress: called as ``progress(done, total)`` layers.

    Raises:
        InputError: an option out of range. NetworkError: a layer that breaks its promises.
        DeviceError: no such GPU, or no driver for it. MissingExtraError: no CUDA bindings.

    >>> from espalier import Layer
    >>> plan = compile(Network([Layer([[1.0, 2.0], [1.0, 2.0]], bias=-1.0)]))
    >>> plan.widths  # two equal neurons became one
    [1]
    """
    check_network(network)
    options, ordinal = Options(merge, fold, group, fixed_point), parse_device(device)
    if ordinal is not None:
        return GpuPlan(network, options, open_device(ordinal), memory, progress)
    return Plan(network, options, memory, threads, progress)


def infer(
    network: Network,
    x: Any,
    *,
    device: str = "cpu",
    filter: Filter = "unique",
    output: Output = "dense",
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Compile a network and run samples through it: `compile` and `Plan.run` in one call.

    >>> import numpy as np
    >>> from espalier import Layer
    >>> infer(Network([Layer(np.eye(2), bias=-1.0)]), [[3.0, 0.0], [0.5, 1.0]]).categories.tolist()
    [0]
    """
    plan = compile(network, device=device, threads=threads, memory=memory)
    return plan.run(x, filter, output=output, progress=progress)
