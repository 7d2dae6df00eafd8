"""What a partition sends, beside random rows and blocks of rows: counted, in a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import MissingExtraError
from espalier.files.atomic import replacing_file
from espalier.network import Network
from espalier.partitioning.baselines import baseline_owners
from espalier.partitioning.volume import Volume, layer_volume
from espalier.progress import Progress
from espalier.tables import table_lines

PEERS = ("random", "block")
COLORS = {"random": "#9a9a9a", "block": "#c98f2b", "hash": "#7a6fae"}
OWN_COLOR = "#1f6f54"


@dataclass(frozen=True)
class Statistics:
    """The six statistics of one layer, or of all, for one sample forward; with the balance.

    Attributes:
        words: sent by all parts.
        most_sent, most_received: by one part, in one layer; over layers, the sums of those.
        messages: pairs of parts of which the first sends the second something.
        most_messages: sent by one part, in one layer; over layers, the sum of those.
        imbalance: weights of the largest part over the mean, less 1; over layers, the largest.
    """

    words: int
    most_sent: int
    most_received: int
    messages: int
    most_messages: int
    imbalance: float

    @classmethod
    def of(cls, volume: Volume) -> Statistics:
        """The statistics of one layer."""
        return cls(
            volume.total_words,
            volume.most_sent,
            volume.most_received,
            volume.total_messages,
            volume.most_messages,
            volume.imbalance,
        )

    @classmethod
    def over(cls, layers: Sequence[Statistics]) -> Statistics:
        """The statistics of all layers: a step is as slow as the slowest part of each."""
        return cls(
            sum(each.words for each in layers),
            sum(each.most_sent for each in layers),
            sum(each.most_received for each in layers),
            sum(each.messages for each in layers),
            sum(each.most_messages for each in layers),
            max((each.imbalance for each in layers), default=0.0),
        )


@dataclass(frozen=True)
class PartitionReport:
    """What the parts of a partition send.

    Attributes:
        layers: statistics of every layer, by method: the partition's own and its peers'.
        nonzeros: weights of every layer.
    """

    parts: int
    method: str
    layers: dict[str, list[Statistics]]
    nonzeros: list[int]

    @classmethod
    def of(
        cls,
        partition: Any,
        network: Network,
        *,
        peers: Sequence[str] = PEERS,
        progress: Progress | None = None,
    ) -> PartitionReport:
        """Another name of ``partition.report(network)``."""
        report: PartitionReport = partition.report(network, peers=peers, progress=progress)
        return report

    @classmethod
    def count(
        cls,
        network: Network,
        parts: int,
        owners: Sequence[NDArray[np.int32]],
        method: str,
        seed: int,
        *,
        peers: Sequence[str] = PEERS,
        progress: Progress | None = None,
    ) -> PartitionReport:
        """Count every layer of the network once, and once for each peer.

        Arguments:
            owners: as `Partition` has them.
            method: how they were made.
            seed: of the peers.
            peers: the baselines beside, by method.
        """
        names = [method, *(peer for peer in peers if peer != method)]
        layers: dict[str, list[Statistics]] = {name: [] for name in names}
        nonzeros = []
        for index, layer in enumerate(network):
            for name in names:
                before, after = (
                    owners[boundary]
                    if name == method
                    else baseline_owners(width, parts, name, seed, boundary)
                    for boundary, width in ((index, layer.inputs), (index + 1, layer.outputs))
                )
                layers[name].append(Statistics.of(layer_volume(layer, before, after, parts)))
            nonzeros.append(layer.nonzeros)
            if progress is not None:
                progress(index + 1, len(network))
        return cls(parts, method, layers, nonzeros)

    @property
    def total(self) -> dict[str, Statistics]:
        """The statistics over all layers, by method."""
        return {name: Statistics.over(layers) for name, layers in self.layers.items()}

    @property
    def crossover_batch(self) -> float:
        """The batch above which replicas of the network send fewer words in a training step.

        Replicas add up ``nonzeros`` gradients, 2 (P - 1) words each; parts send 2 words for each
        of ``words`` and sample. Infinite where nothing is sent.
        """
        words = self.total[self.method].words
        return sum(self.nonzeros) * (self.parts - 1) / words if words else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers and strings."""
        return {
            "parts": self.parts,
            "method": self.method,
            "crossover_batch": self.crossover_batch if self.total[self.method].words else None,
            "total": {name: asdict(statistics) for name, statistics in self.total.items()},
            "layers": {
                name: [asdict(statistics) for statistics in layers]
                for name, layers in self.layers.items()
            },
        }

    def __str__(self) -> str:
        depth = max(len(self.nonzeros), 1)
        rows = [("", "words/layer", "most sent", "most received", "messages", "imbalance")]
        for name, statistics in self.total.items():
            rows.append(
                (
                    name,
                    f"{statistics.words / depth:,.0f}",
                    f"{statistics.most_sent / depth:,.0f}",
                    f"{statistics.most_received / depth:,.0f}",
                    f"{statistics.messages / depth:,.1f}",
                    f"{statistics.imbalance:.1%}",
                )
            )
        table = "\n".join(table_lines(rows, str.rjust))
        return f"{self.parts} parts, {depth} layers\n{table}\n{self.verdict()}"

    def verdict(self) -> str:
        """What follows, in a sentence."""
        mine, other = self.total[self.method].words, self.total.get("random")
        if self.parts == 1 or not mine:
            return "nothing is sent"
        gain = "" if other is None else f"{other.words / mine:.3g} times fewer words than random; "
        return (
            f"{gain}in training, parts send fewer words than replicas of the network up to batches "
            f"of {self.crossover_batch:,.0f}"
        )


def plot_report(report: PartitionReport, path: Path) -> None:
    """Save a PNG of the words sent, layer by layer.

    Raises:
        MissingExtraError: matplotlib is not installed.
        FileError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "a plot") from error
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, layers in report.layers.items():
        words = [each.words for each in layers]
        mean = sum(words) / max(len(words), 1)
        color = OWN_COLOR if name == report.method else COLORS.get(name, "#555555")
        axes.plot(range(len(words)), words, color=color, label=f"{name}: {mean:,.0f} a layer")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("words sent, one sample forward")
    axes.set_title(f"{report.parts} parts")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing_file(path) as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
