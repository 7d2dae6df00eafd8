"""Training on several ranks: the same epochs on every one, each on its rows and its samples."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from espalier import fssl
from espalier.distributed.comm.transport import TransportName
from espalier.distributed.comm.world import FOR_FILES, World
from espalier.distributed.training import checkpoint
from espalier.distributed.training.model import DistributedModel, sparse_network
from espalier.errors import FileError, InputError, TrainingError
from espalier.files.atomic import replacing_file
from espalier.files.checked_json import read_json, write_json
from espalier.nn.networks import build, image_side
from espalier.nn.torch_tools import torch_threads
from espalier.training.augment import hide_pixels, shift
from espalier.training.data import Data, check_batch
from espalier.training.data import load as load_data
from espalier.training.learning_rate import cosine, make_optimizer, recipe
from espalier.training.loop import TEST_BATCH, dropout_seed
from espalier.training.run_directory import environment
from espalier.training.settings import Settings

FORMAT = "espalier-distributed-training"
RUN, METRICS, MODEL, CHECKPOINTS = "run.json", "metrics.jsonl", "model.safetensors", "checkpoints"


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
        output: a folder that all ranks see, for metrics, checkpoints and the whole model at the
            end; None to write nothing.
        resume: go on from the newest whole checkpoint in ``output``. With the same number of ranks
            and parts the result is the same, bit for bit; with others, the rows find their places.
        on_epoch: called with each epoch.
        on_notice: called with what one should know, such as a damaged checkpoint passed over.

    Returns:
        All epochs, those before a resumption among them.

    Raises:
        InputError: settings or owners that do not fit.
        FileError: data or a folder that cannot be read or written.
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
    with torch_threads(settings.threads) as threads:
        data = load_data(settings.data, seed=settings.seed)
        check_batch(data, settings.batch)
        data = data.resized(image_side(settings.model, data.side))
        world.agree("the data", data.fingerprint)
        world.agree("the settings", json.dumps(settings.to_json(), sort_keys=True))
        course = _Course(settings.with_threads(threads), data, owners, world, output, transport)
        with course.closing():
            if resume:
                course.resume(on_notice)
            elif output is not None:
                course.create()
            course.run(on_epoch)
            if output is not None:
                course.save_model()
        return course.epochs


def read_settings(output: Path) -> Settings:
    """The settings of a training that was begun in a folder.

    Raises:
        FileError: there is none, or its description is damaged.
    """
    path = output / RUN
    if not path.exists():
        raise FileError(f"{output} holds no training: there is no {RUN} in it")
    about = read_json(path)
    if about.get("format") != FORMAT:
        raise FileError(f"{path} describes no training on several ranks")
    return Settings.from_json(about["settings"])


def build_whole(settings: Settings, side: int, classes: int) -> nn.Module:
    """The whole network, with weights that the seed alone decides."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        return build(settings.model, in_channels=1, size=side, num_classes=classes)


class _Course:
    """The epochs of a training on this rank."""

    def __init__(
        self,
        settings: Settings,
        data: Data,
        owners: Sequence[NDArray[np.int32]],
        world: World,
        output: Path | None,
        transport: TransportName,
    ) -> None:
        self.settings, self.data, self.world, self.output = settings, data, world, output
        whole = build_whole(settings, data.side, data.classes)
        self.model = DistributedModel(whole, owners, world, transport=transport)
        self.optimizer = make_optimizer(self.model, settings)
        self.steps = len(data.train) // settings.batch
        self.done = 0
        self.epochs: list[Epoch] = []

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close the model's channels when all went well; after an error others may never come."""
        yield
        self.model.close()

    def create(self) -> None:
        """Begin a folder; one that holds a training is refused, on every rank."""
        assert self.output is not None
        run = self.output / RUN
        if self.world.largest([int(run.exists())])[0]:
            raise InputError(
                f"{self.output} holds a training already: resume it, or give another folder"
            )
        if self.world.rank == 0:
            (self.output / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            about = {
                "format": FORMAT,
                "settings": self.settings.to_json(),
                "data": self.data.fingerprint,
                "environment": environment(),
            }
            write_json(run, about)
        self.world.barrier(times=FOR_FILES)

    def resume(self, on_notice: Callable[[str], None]) -> None:
        """Take the state of the newest whole checkpoint."""
        assert self.output is not None
        folder = self.output / CHECKPOINTS
        changes = self._changes()
        if self.world.rank == 0:
            checkpoint.remove_drafts(folder)
        self.world.barrier(times=FOR_FILES)
        found = checkpoint.read_newest(folder, self.model.shards, self.world, on_notice)
        if found is None:
            on_notice(f"{self.output} has no whole checkpoint; starting anew")
            return
        for change in changes:
            on_notice(f"{change}: the last bits may differ from an unbroken training")
        self.done = found.state["done"]
        self.epochs = [Epoch(**line) for line in found.state["epochs"]]
        self._load(found)
        if self.world.rank == 0:
            with replacing_file(self.output / METRICS) as file:
                file.write("".join(map(_line, self.epochs)).encode())

    def _changes(self) -> list[str]:
        """What is not as it was when the training began; other data or settings are refused."""
        assert self.output is not None
        about = read_json(self.output / RUN)
        if about["data"] != self.data.fingerprint:
            raise InputError(
                f"{self.output} was begun with other data than {self.settings.data} holds now; "
                "restore it, or begin in another folder"
            )
        was = Settings.from_json(about["settings"])
        now = self.settings
        if was.with_threads(now.threads or 1) != now:
            raise InputError(
                f"{self.output} was begun with other settings; resume with the same, or begin in "
                "another folder"
            )
        return [
            f"{name} is {value}, was {about['environment'].get(name)}"
            for name, value in environment().items()
            if value != about["environment"].get(name)
        ]

    def run(self, on_epoch: Callable[[Epoch], None] | None) -> None:
        """Train the epochs that are left."""
        for epoch in range(len(self.epochs), self.settings.epochs):
            self.epochs.append(self._epoch(epoch))
            if self.output is not None:
                self._save(epoch + 1)
            if on_epoch is not None:
                on_epoch(self.epochs[-1])

    def save_model(self) -> None:
        """Write the whole model, as `espalier.fssl.load` and `espalier infer` read it."""
        assert self.output is not None
        self.world.timeout.enter("gathering the model")
        whole = build_whole(self.settings, self.data.side, self.data.classes)
        self.model.gather_into(whole)
        if self.world.rank == 0:
            spec = {
                "spec": self.settings.model,
                "in_channels": 1,
                "size": self.data.side,
                "num_classes": self.data.classes,
            }
            inputs = {"std": self.data.std}
            fssl.save(whole, self.output / MODEL, spec=spec, metadata={"inputs": inputs})
        self.world.barrier(times=FOR_FILES)

    def _epoch(self, epoch: int) -> Epoch:
        settings, world = self.settings, self.world
        started = time.perf_counter()
        losses, hits = 0.0, 0
        self.model.train()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(dropout_seed(settings.seed, epoch))
            batches = self.data.train.batches(settings.batch, seed=settings.seed, epoch=epoch)
            for number, (images, labels) in enumerate(batches):
                world.timeout.prefix = f"epoch {epoch + 1}, step {number + 1}, "
                images = hide_pixels(shift(images, settings.shift), recipe(settings).input_dropout)
                loss, right = self._step(self._share(images), self._share(labels))
                losses, hits = losses + loss, hits + right
        world.timeout.prefix = f"epoch {epoch + 1}, "
        mine = np.array([losses, hits, *self._test()])
        every = np.sum(world.gather(mine, world.across), axis=0)
        trained = self.steps * settings.batch
        per_step = sum(e.words_sent + e.words_received for e in self.model.exchanges)
        return Epoch(
            epoch=epoch + 1,
            loss=float(every[0]) / (self.steps * world.replicas),
            train_accuracy=float(every[1]) / trained,
            test_accuracy=float(every[2]) / len(self.data.test),
            words=per_step * (trained // world.replicas),
            lr=self.optimizer.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
        )

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        self.optimizer.zero_grad()
        scores = self.model(images)
        loss = cross_entropy(scores, labels)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} in {self.world.timeout.prefix}at learning rate "
                f"{self.optimizer.param_groups[0]['lr']:g}; train anew with a lower learning rate"
            )
        loss.backward()
        self.model.reduce_gradients()
        peak = recipe(self.settings).lr
        for group in self.optimizer.param_groups:
            group["lr"] = peak * cosine(self.done / (self.steps * self.settings.epochs))
        self.optimizer.step()
        self.done += 1
        return value, int((scores.detach().argmax(1) == labels).sum())

    def _share(self, tensor: Tensor) -> Tensor:
        """This replica's samples of a batch."""
        size = len(tensor) // self.world.replicas
        return tensor[self.world.replica * size : (self.world.replica + 1) * size]

    @torch.no_grad()
    def _test(self) -> list[float]:
        """How many of this replica's test images are right."""
        self.model.eval()
        test, world = self.data.test, self.world
        bounds = np.linspace(0, len(test), world.replicas + 1).astype(int)
        first, last = int(bounds[world.replica]), int(bounds[world.replica + 1])
        hits = 0
        for start in range(first, last, TEST_BATCH):
            stop = min(start + TEST_BATCH, last)
            scores = self.model(test.images[start:stop])
            hits += int((scores.argmax(1) == test.labels[start:stop]).sum())
        return [float(hits)]

    def _save(self, epochs: int) -> None:
        assert self.output is not None
        self.world.timeout.enter("writing the checkpoint")
        tensors: dict[str, dict[str, Tensor]] = {}
        scalars: dict[str, dict[str, float]] = {}
        for name, parameter in self.model.parts_of.items():
            state = self.optimizer.state[parameter]
            tensors[name] = {"value": parameter.detach()}
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    tensors[name][key] = value
                elif value is not None:
                    scalars.setdefault(name, {})[key] = float(value)
        state = {
            "done": self.done,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "scalars": scalars,
        }
        folder = self.output / CHECKPOINTS
        checkpoint.write(folder, epochs, state, tensors, self.model.shards, self.world)
        if self.world.rank == 0:
            with replacing_file(self.output / METRICS) as file:
                file.write("".join(map(_line, self.epochs)).encode())

    @torch.no_grad()
    def _load(self, found: checkpoint.Checkpoint) -> None:
        for name, parameter in self.model.parts_of.items():
            shard, state = self.model.shards[name], self.optimizer.state[parameter]
            for kind, packed in found.tensors[name].items():
                tensor = shard.unpack(packed, parameter)
                if kind == "value":
                    parameter.copy_(tensor)
                else:
                    state[kind] = tensor.clone()
            for key, value in found.state["scalars"].get(name, {}).items():
                state[key] = torch.tensor(value)


def network_to_cut(settings: Settings) -> Any:
    """The network to partition for a training.

    Raises:
        InputError: the model has no sparse layers, or one that cannot be cut.
    """
    data = load_data(settings.data, seed=settings.seed)
    side = image_side(settings.model, data.side)
    return sparse_network(build_whole(settings, side, data.classes))


def _line(epoch: Epoch) -> str:
    return json.dumps(asdict(epoch)) + "\n"
