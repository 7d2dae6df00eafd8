"""The FSSL paper's three strategies: sparse samples times sparse weights, layer by layer.

Wang et al., HPEC 2019, Tables IV-VI. They take no shortcut but, with ``"filter"``, dropping
samples that died, and are here to be compared with; `espalier.inference.plan` is the fast way.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from espalier.cuda import open_device, parse_device
from espalier.inference.options import (
    OUTPUTS,
    STRATEGIES,
    Output,
    Strategy,
    check_choice,
    check_network,
)
from espalier.inference.result import Result
from espalier.inference.strategies.gpu import GpuStrategyPlan
from espalier.inference.strategies.result import collect_outcome
from espalier.kernels import SparseProduct, instruction_set, thread_count
from espalier.kernels.samples import check_samples, name_bad_sample
from espalier.network import Network
from espalier.progress import Progress
from espalier.simplify.invariants import find_invariants, holds_from


class StrategyPlan:
    """A network prepared for one of the paper's strategies; run it like a `Plan`.

    Arguments:
        strategy: ``"buffer"`` reuses workspace and output over layers, ``"no-buffer"`` counts and
            allocates for every layer, ``"filter"`` is ``"buffer"`` and drops samples that died.
    """

    def __init__(self, network: Network, strategy: Strategy, threads: int | None = None) -> None:
        check_network(network)
        check_choice("strategy", strategy, STRATEGIES)
        start = perf_counter()
        self.network = network
        self.strategy = strategy
        self.threads = threads
        thread_count(threads)
        self._layers = [SparseProduct.prepare(layer) for layer in network]
        self._droppable = holds_from([find_invariants(layer).zero_stays_zero for layer in network])
        self._connections = network.connections
        self.compile_seconds = perf_counter() - start

    def run(
        self,
        x: Any,
        *,
        output: Output = "csr",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run all samples through the network; see `Plan.run`."""
        check_choice("output", output, OUTPUTS)
        used = thread_count(self.threads if threads is None else threads)
        matrix = check_samples(x, self._layers[0][0].inputs)
        samples = matrix.shape[0]
        start = perf_counter()
        batch = SparseProduct(matrix, used)
        operations = 0.0
        for done, prepared in enumerate(self._layers, 1):
            layer = prepared[0]
            operations += batch.nonzeros * layer.multiply_adds / max(layer.inputs, 1)
            batch.multiply(prepared, reuse=self.strategy != "no-buffer")
            if self.strategy == "filter" and self._droppable[done]:
                batch.drop_empty_rows()
            if progress is not None:
                progress(done, len(self._layers))
        final = batch.matrix()
        if not np.isfinite(final.data).all():
            raise name_bad_sample(matrix)
        found = collect_outcome(
            samples,
            batch.samples,
            final,
            start=start,
            operations=operations,
            layers=len(self._layers),
            connections=self._connections,
            compile_seconds=self.compile_seconds,
            threads=used,
            instruction_set=instruction_set(),
            strategy=self.strategy,
        )
        return Result(*found, sparse=output == "csr")


def compile_strategy(
    network: Network, strategy: Strategy, *, device: str = "cpu", threads: int | None = None
) -> StrategyPlan | GpuStrategyPlan:
    """A network prepared for one of the paper's strategies, on the CPU or by cuSPARSE on a GPU.

    Arguments:
        device: as in `espalier.compile`.

    Raises:
        InputError: an unknown strategy or device.
        DeviceError, MissingExtraError: no GPU, or no cuSPARSE.

    >>> from espalier.network import Layer
    >>> plan = compile_strategy(Network([Layer([[1.0]], bias=-1.0)]), "filter")
    >>> plan.run([[3.0], [0.5]]).categories.tolist()
    [0]
    """
    ordinal = parse_device(device)
    if ordinal is None:
        return StrategyPlan(network, strategy, threads)
    return GpuStrategyPlan(network, strategy, open_device(ordinal))
