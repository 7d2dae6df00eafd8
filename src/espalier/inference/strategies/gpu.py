"""The FSSL paper's three strategies as the paper ran them: cuSPARSE's sparse products on a GPU.

Wang et al., HPEC 2019, Tables IV-VI. Between two products our own kernels add the bias, clamp and
drop zeros. They are here to be compared with; `espalier.inference.gpu.plan` is the fast way.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp

from espalier.cuda import Device
from espalier.errors import InputError
from espalier.inference.gpu.result import DeviceSeconds, GpuResult
from espalier.inference.options import OUTPUTS, STRATEGIES, Output, check_choice, check_network
from espalier.inference.strategies.cusparse import load_library
from espalier.inference.strategies.gpu_execute import DeviceLayer, StrategyRun
from espalier.inference.strategies.result import collect_outcome
from espalier.kernels.samples import check_samples, name_bad_sample
from espalier.network import Network
from espalier.progress import Progress
from espalier.simplify.invariants import find_invariants


class GpuStrategyPlan:
    """A network prepared for one of the paper's strategies on a GPU; run it like a `Plan`.

    Arguments:
        strategy: ``"buffer"`` keeps workspace and output from layer to layer, ``"no-buffer"``
            allocates them for each, ``"filter"`` is ``"buffer"`` and drops samples that died.
        library: cuSPARSE, or what stands in for it in a test.

    Raises:
        InputError: a layer whose bias could wake a zero, which a sparse product cannot make.
        MissingExtraError: cuSPARSE is not installed.
    """

    def __init__(
        self, network: Network, strategy: str, device: Device, library: Any = None
    ) -> None:
        check_network(network)
        check_choice("strategy", strategy, STRATEGIES)
        start = perf_counter()
        self.network, self.strategy, self.device = network, strategy, device
        self.library = load_library() if library is None else library
        self.stream = device.stream_for(self)
        self.layers: list[DeviceLayer] = []
        self._connections = 0
        for index, layer in enumerate(network):
            if not find_invariants(layer).zero_stays_zero:
                raise InputError(
                    f"layer {index} has a bias that makes something of a zero, which a product of "
                    "sparse matrices cannot; run it without strategy="
                )
            self.layers.append(DeviceLayer(device, layer, self.stream))
            self._connections += layer.nonzeros
        device.synchronize(self.stream)
        self.compile_seconds = perf_counter() - start

    def run(
        self,
        x: Any,
        *,
        output: Output = "csr",
        progress: Progress | None = None,
    ) -> GpuResult:
        """Run all samples through the network; where memory is short, half of them at a time."""
        check_choice("output", output, OUTPUTS)
        matrix = check_samples(x, self.layers[0].inputs)
        start = perf_counter()
        rows = sp.csr_array(matrix)
        rows.sum_duplicates()
        run = StrategyRun(
            self.device, self.stream, self.library, self.layers, self.strategy, rows, progress
        )
        run.batch(0, rows.shape[0])
        if not np.isfinite(rows.data).all() or run.bad:
            raise name_bad_sample(matrix)
        found = collect_outcome(
            rows.shape[0],
            np.concatenate(run.left),
            sp.vstack(run.parts, format="csr"),
            start=start,
            operations=run.operations,
            layers=len(self.layers),
            connections=self._connections,
            compile_seconds=self.compile_seconds,
            threads=1,
            instruction_set=f"{self.device.architecture}, cuSPARSE on the GPU",
            strategy=self.strategy,
        )
        return GpuResult(*found, output == "csr", DeviceSeconds(*run.seconds))
