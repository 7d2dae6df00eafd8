"""Everything that decides the numbers of a training, in one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple, get_args

from espalier.errors import InputError
from espalier.kernels.threads import MAX_THREADS

Method = Literal["fssl", "magnitude", "rigl", "dense"]
Measure = Literal["time", "zeros", "units"]
Optimizer = Literal["sgd", "adam"]
TimeSource = Literal["measured", "macs"]

MAX_SEED = 2**64 - 1  # that PyTorch takes
# What each method aims at when no target is given; it may be given any of these measures.
DEFAULT_TARGETS: dict[str, tuple[Measure, float] | None] = {
    "fssl": ("time", 0.3),
    "magnitude": ("zeros", 0.9),
    "rigl": ("zeros", 0.9),
    "dense": None,
}
MEASURES: dict[str, tuple[Measure, ...]] = {
    "fssl": ("time", "zeros", "units"),
    "magnitude": ("zeros",),
    "rigl": ("zeros",),
    "dense": (),
}


class Target(NamedTuple):
    """The goal: a part of the dense network's time or units to keep, or of zeros to reach."""

    measure: Measure
    value: float

    def met_by(self, reached: float) -> bool:
        """Whether a network that reached this value is as small as was asked for."""
        slack = 1e-6
        if self.measure == "zeros":
            return reached >= self.value - slack
        return reached <= self.value + slack


@dataclass(frozen=True)
class Settings:
    """What to train on what, and how; checked when made.

    Arguments:
        data: ``"digits"`` for scikit-learn's, or a folder of IDX files.
        model: a name that `espalier.nn.networks.build` takes.
        method: ``"fssl"``, ``"magnitude"``, ``"rigl"`` or ``"dense"``.
        target_time: part of the dense network's time to end with.
        target_zeros: part of all weights that must be zero at the end.
        target_units: part of all units (neurons, filters, pixels) to end with.
        epochs: of the whole training, every phase together.
        batch: images of a step.
        lr: peak learning rate; by default what suits the model.
        optimizer: ``"sgd"`` with Nesterov momentum 0.9, or ``"adam"``; by default what suits the
            model.
        weight_decay: of weights, never of biases and batch norms.
        seed: of the first weights, the order of images and dropout.
        threads: of PyTorch and of espalier's kernels; by default PyTorch's.
        dense_part: part of the epochs that train the dense network first.
        sparsify_part: part of the epochs that make zeros; what is left fine-tunes.
        finetune_lr: learning rate of fine-tuning, as a part of ``lr``.
        input_dropout: part of the pixels that training hides at random in every image; by
            default what suits the model.
        shift: pixels by which training moves images at random, up, down and sideways; 0 for a
            training that knows nothing of where pixels lie.
        distill: weight, against the labels, of the answers that the network gave when it was
            dense; 0 to learn from labels alone.
        mix: FSSL's weight of processing time against sparsity, 0 to 1.
        time: where processing times come from: ``"measured"`` on this machine, or ``"macs"``,
            multiply-adds in their place.

    Raises:
        InputError: a value that no training can have.

    >>> Settings(epochs=30).target
    Target(measure='time', value=0.3)
    """

    data: str = "digits"
    model: str = "mlp:300-100"
    method: Method = "fssl"
    target_time: float | None = None
    target_zeros: float | None = None
    target_units: float | None = None
    epochs: int = 40
    batch: int = 128
    lr: float | None = None
    optimizer: Optimizer | None = None
    weight_decay: float = 3e-4
    seed: int = 0
    threads: int | None = None
    dense_part: float = 0.3
    sparsify_part: float = 0.4
    finetune_lr: float = 0.4
    input_dropout: float | None = None
    shift: int = 0
    distill: float = 0.5
    mix: float = 0.5
    time: TimeSource = "measured"

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_target()

    @property
    def target(self) -> Target | None:
        """The one target, given or the method's own; None for dense training."""
        for measure, value in self._targets().items():
            return Target(measure, value)
        default = DEFAULT_TARGETS[self.method]
        return None if default is None else Target(*default)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values.

        Raises:
            InputError: a name or a value that settings do not have.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"settings hold {unknown[0]!r}, wanted {', '.join(sorted(known))}")
        return cls(**values)

    def with_threads(self, threads: int) -> Settings:
        """The same with the number of threads that ``None`` stands for."""
        return self if self.threads is not None else replace(self, threads=threads)

    def _targets(self) -> dict[Measure, float]:
        values: dict[Measure, float | None] = {
            "time": self.target_time,
            "zeros": self.target_zeros,
            "units": self.target_units,
        }
        return {measure: value for measure, value in values.items() if value is not None}

    def _check_choices(self) -> None:
        choices = {"method": Method, "optimizer": Optimizer, "time": TimeSource}
        for name, kind in choices.items():
            value = getattr(self, name)
            if value not in get_args(kind) and not (name == "optimizer" and value is None):
                raise InputError(f"{name} is {value!r}, wanted one of {', '.join(get_args(kind))}")

    def _check_numbers(self) -> None:
        for name in ("epochs", "batch", "threads"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"{name} is {value!r}, wanted a whole number from 1 up")
        if self.threads is not None and self.threads > MAX_THREADS:
            raise InputError(f"threads is {self.threads}, wanted 1 to {MAX_THREADS}")
        if type(self.seed) is not int or not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed is {self.seed!r}, wanted a whole number from 0 to 2**64 - 1")
        for name in ("lr", "finetune_lr"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                raise InputError(f"{name} is {value!r}, wanted a number above 0")
        if not 0.0 <= self.weight_decay < float("inf"):
            raise InputError(f"weight_decay is {self.weight_decay!r}, wanted a number from 0 up")
        if type(self.shift) is not int or self.shift < 0:
            raise InputError(f"shift is {self.shift!r}, wanted a number of pixels from 0 up")
        if self.input_dropout is not None and not 0.0 <= self.input_dropout < 1.0:
            raise InputError(
                f"input_dropout is {self.input_dropout!r}, wanted a part from 0 to below 1"
            )
        for name in ("dense_part", "sparsify_part", "mix", "distill"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InputError(f"{name} is {value!r}, wanted a number from 0 to 1")
        if self.dense_part + self.sparsify_part > 1.0 or self.sparsify_part == 0.0:
            raise InputError(
                f"dense_part is {self.dense_part} and sparsify_part {self.sparsify_part}, wanted "
                "parts of the epochs that add up to 1 at most, the second above 0"
            )

    def _check_target(self) -> None:
        targets, allowed = self._targets(), MEASURES[self.method]
        if len(targets) > 1:
            names = " and ".join(f"target_{measure}" for measure in targets)
            raise InputError(f"{names} are given, wanted one target")
        for measure, value in targets.items():
            if measure not in allowed:
                wanted = " or ".join(f"target_{name}" for name in allowed) or "no target"
                raise InputError(
                    f"target_{measure} is given, but the method {self.method} takes {wanted}"
                )
            if not 0.0 < value < 1.0:
                raise InputError(
                    f"target_{measure} is {value!r}, wanted a part between 0 and 1, such as 0.3"
                )
