"""Training on several ranks: the same epochs on every one, each on its rows and its samples."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.distributed.comm.transport import TransportName
from espalier.distributed.comm.world import FOR_FILES, World
from espalier.distributed.training.model import DistributedModel, sparse_network
from espalier.distributed.training.run_directory import RanksDirectory
from espalier.errors import InputError
from espalier.network import Network
from espalier.nn.torch_tools import torch_threads
from espalier.training.context import build_start
from espalier.training.data import Data, Split, load_for
from espalier.training.epochs import EpochLoop
from espalier.training.loop import Means, Trainer, count_hits
from espalier.training.run_directory import ON_RANKS, RunDirectory, save_model
from espalier.training.settings import Settings


@dataclass(frozen=True)
class Epoch:
    """One line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        loss: mean over the training images, each before its step.
        test_accuracy: of the network after the epoch.
        words: activations and partial sums that this rank sent in the epoch.
        lr: of the last step.
        seconds: that the epoch took on rank 0, test included.
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    words: int
    lr: float
    seconds: float


def train(
    settings: Settings,
    owners: Sequence[NDArray[np.int32]],
    world: World,
    output: Path | None = None,
    *,
    resume: bool = False,
    transport: TransportName = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
    on_notice: Callable[[str], None] = warnings.warn,
) -> list[Epoch]:
    """Train a network of sparse layers; every rank calls this with the same arguments.

    Arguments:
        settings: what to train on what; the method is ``"dense"``, which trains the weights there
            are. The batch is shared out among replicas.
        owners: the part of every input and row, see `DistributedModel`.
        output: a directory that all ranks see, for metrics, checkpoints and the whole model at the
            end; None to write nothing.
        resume: go on from the newest whole checkpoint in ``output``. With the same number of ranks
            and parts the result is the same, bit for bit; with others, the rows find their places.
        on_epoch: called with each epoch.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Returns:
        All epochs, those before a resumption among them.

    Raises:
        InputError: settings or owners that do not fit, or settings that are not those of the
            training to go on with.
        FileError: data or a directory that cannot be read or written, or that another training
            uses; every rank raises it.
        TrainingError: the loss is no finite number; the last checkpoint is whole.
    """
    if settings.method != "dense":
        raise InputError(
            f"method is {settings.method!r}, wanted 'dense' on several ranks: the weights there "
            "are, are trained"
        )
    if settings.batch % world.replicas:
        raise InputError(
            f"batch is {settings.batch} for {world.replicas} replicas, wanted a multiple of them"
        )
    if resume and output is None:
        raise InputError("resume wants the output folder of the training")
    with torch_threads(settings.threads) as threads:
        data = load_for(settings)
        world.agree("the data", data.fingerprint)
        world.agree("the settings", json.dumps(settings.to_json(), sort_keys=True))
        settings = settings.with_threads(threads)
        directory = None if output is None else RanksDirectory(output, world)
        with nullcontext() if directory is None else directory.held(resume=resume):
            if directory is not None:
                begin = directory.check_same if resume else directory.create
                begin(settings, data.fingerprint)
            whole = build_start(settings, data)
            model = DistributedModel(whole, owners, world, transport=transport)
            training = _RankTraining(settings, data, model, directory)
            if resume:
                training.resume(on_notice)
            training.run(on_epoch=on_epoch)
            if directory is not None:
                _save_whole(whole, model, directory, settings, data)
            model.close()  # after an error others may never come to do so together
        return training.history


def read_settings(output: Path) -> Settings:
    """The settings of a training that was begun in a directory.

    Raises:
        FileError: there is none, or its description is damaged.
    """
    return RunDirectory(output, ON_RANKS).settings()


def network_to_cut(settings: Settings) -> Network:
    """The network to partition for a training.

    Raises:
        InputError: the model has no sparse layers, or one that cannot be cut.
    """
    return sparse_network(build_start(settings, load_for(settings)))


class _RankTrainer(Trainer):
    """The steps of this rank: its part of the network, its replica's share of each batch."""

    model: DistributedModel

    def __init__(self, settings: Settings, model: DistributedModel, steps: int) -> None:
        """``steps`` are those of an epoch."""
        super().__init__(settings, model, steps * settings.epochs)
        self._world, self._epoch_steps = model.world, steps

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """All ranks draw the same noise for the whole batch, then take their replica's share."""
        epoch, step = divmod(self._done, self._epoch_steps)
        self._world.timeout.prefix = f"epoch {epoch + 1}, step {step + 1}, "
        images, labels = super().prepare(images, labels)
        return _share(images, self._world), _share(labels, self._world)

    def update(self) -> None:
        """One step along the gradients of all replicas."""
        self.model.reduce_gradients()
        super().update()

    def state_dict(self) -> dict[str, Any]:
        """By parameter, so that another partition can go on from it."""
        tensors: dict[str, dict[str, Tensor]] = {}
        scalars: dict[str, dict[str, float]] = {}
        for name, parameter in self.model.parts_of.items():
            tensors[name] = {"value": parameter.detach()}
            for key, value in self.optimizer.state[parameter].items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    tensors[name][key] = value
                elif value is not None:
                    scalars.setdefault(name, {})[key] = float(value)
        return {"done": self._done, "scalars": scalars, "tensors": tensors}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; tensors come packed, see `Shard`."""
        self._done = state["done"]
        for name, parameter in self.model.parts_of.items():
            shard, own = self.model.shards[name], self.optimizer.state[parameter]
            for kind, packed in state["tensors"][name].items():
                tensor = shard.unpack(packed, parameter)
                if kind == "value":
                    parameter.copy_(tensor)
                else:
                    own[kind] = tensor.clone()
            for key, value in state["scalars"].get(name, {}).items():
                own[key] = torch.tensor(value)


class _RankTraining(EpochLoop[Epoch]):
    """The epochs of a training on this rank."""

    trainer: _RankTrainer

    def __init__(
        self,
        settings: Settings,
        data: Data,
        model: DistributedModel,
        directory: RanksDirectory | None,
    ) -> None:
        super().__init__(settings, data, directory)
        if directory is not None:
            directory.shards = model.shards
        self.trainer = _RankTrainer(settings, model, len(data.train) // settings.batch)

    def enter(self, epoch: int) -> str:
        """All epochs are of one phase."""
        return "dense"

    def measure(self, epoch: int, means: Means, started: float) -> Epoch:
        """Test this replica's share of the images, and sum up over replicas."""
        model, world, test = self.trainer.model, self.trainer.model.world, self.data.test
        world.timeout.prefix = f"epoch {epoch + 1}, "
        bounds = np.linspace(0, len(test), world.replicas + 1).astype(int)
        mine = slice(bounds[world.replica], bounds[world.replica + 1])
        hits = count_hits(model, Split(test.images[mine], test.labels[mine]))
        every = np.array([means.loss, means.accuracy, hits])
        loss, train_accuracy, all_hits = np.sum(world.gather(every, world.across), axis=0)
        per_step = sum(e.words_sent + e.words_received for e in model.exchanges)
        steps = len(self.data.train) // self.settings.batch
        return Epoch(
            epoch=epoch + 1,
            loss=float(loss) / world.replicas,
            train_accuracy=float(train_accuracy) / world.replicas,
            test_accuracy=float(all_hits) / len(test),
            words=per_step * (steps * self.settings.batch // world.replicas),
            lr=self.trainer.lr,
            seconds=time.perf_counter() - started,
        )

    def state_dict(self) -> dict[str, Any]:
        """Of the trainer, and all epochs."""
        return {**self.trainer.state_dict(), "epochs": [asdict(epoch) for epoch in self.history]}

    def load_state_dict(self, epochs: int, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.trainer.load_state_dict(dict(state))
        self.history = [Epoch(**line) for line in state["epochs"]]


def _share(tensor: Tensor, world: World) -> Tensor:
    """This replica's samples of a batch."""
    size = len(tensor) // world.replicas
    return tensor[world.replica * size : (world.replica + 1) * size]


def _save_whole(
    whole: nn.Module,
    model: DistributedModel,
    directory: RanksDirectory,
    settings: Settings,
    data: Data,
) -> None:
    """Write the whole model, as `espalier.fssl.load` and `espalier infer` read it."""
    world = model.world
    world.timeout.enter("gathering the model")
    model.gather_into(whole)
    if world.rank == 0:
        save_model(whole, directory.model, settings, data)
    world.barrier(times=FOR_FILES)
