"""What a partition sends, beside random rows and blocks of rows: counted, not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from espalier.network import Network
from espalier.partitioning.baselines import share_out
from espalier.partitioning.volume import Volume, layer_volume
from espalier.progress import Progress

if TYPE_CHECKING:
    from espalier.partitioning.partition import Partition

PEERS = ("random", "block")


@dataclass(frozen=True)
class Figures:
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
    def of(cls, volume: Volume) -> Figures:
        """The figures of one layer."""
        return cls(
            volume.total_words,
            volume.most_sent,
            volume.most_received,
            volume.total_messages,
            volume.most_messages,
            volume.imbalance,
        )

    @classmethod
    def over(cls, layers: Sequence[Figures]) -> Figures:
        """The figures of all layers: a step is as slow as the slowest part of each."""
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
    """The account of a partition.

    Attributes:
        layers: figures of every layer, by method: the partition's own, ``"random"``, ``"block"``.
        nonzeros: weights of every layer.
    """

    parts: int
    method: str
    layers: dict[str, list[Figures]]
    nonzeros: list[int]

    @classmethod
    def of(
        cls,
        partition: Partition,
        network: Network,
        *,
        peers: Sequence[str] = PEERS,
        progress: Progress | None = None,
    ) -> PartitionReport:
        """Count every layer of the network once, and once for each peer."""
        partition.check(network)
        parts = partition.parts
        names = [partition.method, *(peer for peer in peers if peer != partition.method)]
        layers: dict[str, list[Figures]] = {name: [] for name in names}
        nonzeros = []
        for index, layer in enumerate(network):
            for name in names:
                before, after = (
                    partition.owners[index + behind]
                    if name == partition.method
                    else share_out(width, parts, name, partition.seed, index + behind)
                    for behind, width in ((0, layer.inputs), (1, layer.outputs))
                )
                layers[name].append(Figures.of(layer_volume(layer, before, after, parts)))
            nonzeros.append(layer.nonzeros)
            if progress is not None:
                progress(index + 1, len(network))
        return cls(parts, partition.method, layers, nonzeros)

    @property
    def total(self) -> dict[str, Figures]:
        """The figures over all layers, by method."""
        return {name: Figures.over(layers) for name, layers in self.layers.items()}

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
            "total": {name: asdict(figures) for name, figures in self.total.items()},
            "layers": {
                name: [asdict(figures) for figures in layers]
                for name, layers in self.layers.items()
            },
        }

    def __str__(self) -> str:
        depth = max(len(self.nonzeros), 1)
        rows = [("", "words/layer", "most sent", "most received", "messages", "imbalance")]
        for name, figures in self.total.items():
            rows.append(
                (
                    name,
                    f"{figures.words / depth:,.0f}",
                    f"{figures.most_sent / depth:,.0f}",
                    f"{figures.most_received / depth:,.0f}",
                    f"{figures.messages / depth:,.1f}",
                    f"{figures.imbalance:.1%}",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )
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
