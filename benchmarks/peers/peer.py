"""The task every peer is given: run a network over a batch by the challenge's rules."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import InputError
from espalier.network import Layer, Network

LEAST_SLAB = 64


class ConvertedLayer(NamedTuple):
    """A layer in a library's own format."""

    weights: Any
    bias: Any
    relu: bool
    clip: float | None


class Outcome(NamedTuple):
    """One slab after the last layer: its rows in the peer's own format, and which they are."""

    batch: Any
    rows: NDArray[np.int_]


class Peer(ABC):
    """A library run at its best settings. Make it, `load` a batch, and only then time `run`.

    Arguments:
        network: converted, all layers, into the library's own format.
        threads: threads to use.
        drop_dead_rows: drop the samples whose activations are all zero, after every layer.
        slab: samples that go through all layers together. None: so many that their activations
            stay in cache, which runs 1.5 to 5 times as fast as the whole batch at once.

    Raises:
        MissingExtraError: the library is not installed.
        InputError: dead rows are to be dropped, but a bias would bring them back to life.
    """

    name: ClassVar[str]
    threads_share_slabs: ClassVar[bool] = False
    # Activations of the best slab, in entries, as measured for networks of 1024 and 4096 neurons.
    slab_entries: ClassVar[int]

    def __init__(
        self,
        network: Network,
        *,
        threads: int = 1,
        drop_dead_rows: bool = False,
        slab: int | None = None,
    ) -> None:
        layers = list(network)
        self.rows_stay_dead = not any(revives_dead_rows(layer) for layer in layers)
        self.threads = threads
        self._drop_dead_rows(drop_dead_rows)
        self._outputs = network.outputs
        self._prepare(layers)
        self.slab = slab or max(LEAST_SLAB, self.slab_entries // self._widest)
        self._layers = [self._convert(layer) for layer in layers]

    def variant(self, *, drop_dead_rows: bool, slab: int | None = None) -> Self:
        """The same peer with other settings; the converted network is shared, not copied."""
        other = copy.copy(self)
        other._drop_dead_rows(drop_dead_rows)
        other.slab = slab or self.slab
        return other

    def load(self, inputs: Any) -> list[Any]:
        """Cut ``[samples, neurons]`` inputs, numpy or scipy, into slabs of the peer's format."""
        matrix = sp.csr_array(inputs, dtype=np.float32)
        return [
            self._load(matrix[start : start + self.slab])
            for start in range(0, max(1, matrix.shape[0]), self.slab)
        ]

    def run(self, slabs: list[Any]) -> list[Outcome]:
        """Run every slab through all layers; this is the part to time."""
        if self.threads_share_slabs and self.threads > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                return list(pool.map(self._run_slab, slabs))
        return [self._run_slab(slab) for slab in slabs]

    def activations(self, outcomes: list[Outcome], slabs: list[Any]) -> NDArray[np.float32]:
        """The outcome as float32 ``[samples, outputs]``, dropped rows as zeros."""
        parts = []
        for slab, outcome in zip(slabs, outcomes, strict=True):
            part = np.zeros((self._rows(slab), self._outputs), dtype=np.float32)
            part[outcome.rows] = self._dense(outcome.batch)
            parts.append(part)
        return np.concatenate(parts)

    def _run_slab(self, batch: Any) -> Outcome:
        rows = np.arange(self._rows(batch))
        workspace = self._workspace(len(rows))
        for layer in self._layers:
            batch = self._step(layer, batch, workspace)
            if self.drop_dead_rows:
                alive = self._alive(batch)
                if len(alive) < len(rows):
                    batch, rows = self._take(batch, alive), rows[alive]
        return Outcome(batch, rows)

    def _drop_dead_rows(self, wanted: bool) -> None:
        if wanted and not self.rows_stay_dead:
            raise InputError(
                "drop_dead_rows needs ReLU layers without positive biases; this network brings "
                "rows of zeros back to life"
            )
        self.drop_dead_rows = wanted

    def _prepare(self, layers: list[Layer]) -> None:
        """Look at the network as a whole; import the library and set its threads."""
        self._widest = max(layers[0].inputs, *(layer.outputs for layer in layers))

    def _workspace(self, rows: int) -> Any:
        """Memory that one slab uses for all layers, for libraries that write where told."""
        return None

    @abstractmethod
    def _convert(self, layer: Layer) -> Any:
        """A layer in the library's format."""

    @abstractmethod
    def _load(self, slab: Any) -> Any:
        """A slab, scipy CSR ``[samples, neurons]``, in the library's format."""

    @abstractmethod
    def _rows(self, batch: Any) -> int:
        """Samples in a slab."""

    @abstractmethod
    def _step(self, layer: Any, batch: Any, workspace: Any) -> Any:
        """Multiply, add the bias, apply the activation; never into ``batch`` itself."""

    @abstractmethod
    def _alive(self, batch: Any) -> NDArray[np.int_]:
        """Rows that are not all zero."""

    @abstractmethod
    def _take(self, batch: Any, rows: NDArray[np.int_]) -> Any:
        """Some rows of a slab."""

    @abstractmethod
    def _dense(self, batch: Any) -> NDArray[np.float32]:
        """A slab after the last layer as ``[samples, outputs]``."""


def revives_dead_rows(layer: Layer) -> bool:
    """Whether an input of zeros can give an output other than zeros."""
    return layer.activation != "relu" or bool((layer.bias > 0.0).any())
