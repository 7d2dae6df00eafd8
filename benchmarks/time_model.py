"""How far predicted times are off, for layers at held-out widths and for whole networks.

    python benchmarks/time_model.py [mlp|lenet5|vgg-small ...] [--threads 1] [--batch 256]

Every network is built at its full width and at some parts of it, drawn anew for each layer, and
timed in turns; none of these times was used to fit anything. One thread is timed by its own clock,
several by the clock on the wall, which only a machine without other work makes comparable.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from espalier import fssl
from espalier.fssl.time_measure import clock_of, torch_threads
from espalier.nn.networks import VGG
from espalier.nn.turns import least_seconds

PARTS = (1.0, 0.8, 0.65, 0.5, 0.5, 0.35, 0.25, 0.15, 0.1)


def mlp(inputs: int, first: int, second: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU()),
        nn.Linear(second, 10),
    )


def lenet5(first: int, second: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, first, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(16 * second, hidden), nn.ReLU(), nn.Linear(hidden, 10)),
    )


def vgg_small(*widths: int) -> nn.Module:
    stages = widths[:2], widths[2:4], widths[4:6]
    return VGG(stages, widths[6:], pooled=2, num_classes=10, in_channels=1)


class Select(nn.Module):
    """Hands some inputs on."""

    def __init__(self, kept: int, full: int) -> None:
        super().__init__()
        self.columns = torch.linspace(0, full - 1, kept).round().long()

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.columns)


NETWORKS: dict[str, tuple[Callable[..., nn.Module], Sequence[int], tuple[int, ...]]] = {
    "mlp": (mlp, (784, 300, 100), (784,)),
    "lenet5": (lenet5, (20, 50, 500), (1, 28, 28)),
    "vgg-small": (vgg_small, (64, 64, 128, 128, 256, 256, 512), (1, 28, 28)),
}


def compare(name: str, batch: int, threads: int) -> None:
    """Measure one network's time model and print predicted against measured."""
    build, full, shape = NETWORKS[name]
    x = torch.rand(batch, *shape)
    groups = fssl.find_groups(build(*full), x[:2])
    with tempfile.TemporaryDirectory() as folder:
        clock = clock_of(1)
        start = clock()
        time = fssl.TimeModel.measure(groups, batch, threads=threads, folder=Path(folder))
        print(f"\n{name}: measured in {clock() - start:.1f} s of processor time\n{time}")
    fits = {id(fit): fit for known in time.layers for fit in known.fits.values()}
    errors = [error for fit in fits.values() for error in fit.errors]
    print(f"held-out, all layers: median {statistics.median(errors):.1%}, worst {max(errors):.1%}")
    rng = np.random.default_rng(0)
    widths = [[_part(size, part, rng) for size in full] for part in PARTS]
    models = [_narrow(build, each, shape).eval() for each in widths]
    with torch.no_grad(), torch_threads(threads):
        works = [lambda model=model: model(x) for model in models]
        seconds, _ = least_seconds(
            works, rounds=(5, 30), ratio=1.03, slack=1e-6, warm_below=2e-3, clock=clock_of(threads)
        )
    off = []
    for each, measured in zip(widths, seconds, strict=True):
        predicted = time.seconds(each)
        off.append(abs(predicted / measured - 1.0))
        print(
            f"{'-'.join(map(str, each)):32} predicted {1e3 * predicted:8.3f} ms   "
            f"measured {1e3 * measured:8.3f} ms   {predicted / measured - 1.0:+.1%}"
        )
    print(f"networks: median {statistics.median(off):.1%}, worst {max(off):.1%}")


def _part(size: int, part: float, rng: np.random.Generator) -> int:
    return size if part == 1.0 else max(1, round(size * min(1.0, part * rng.uniform(0.7, 1.3))))


def _narrow(
    build: Callable[..., nn.Module], widths: Sequence[int], shape: tuple[int, ...]
) -> nn.Module:
    model = build(*widths)
    if len(shape) > 1 or widths[0] == shape[0]:
        return model
    return nn.Sequential(Select(widths[0], shape[0]), *model.children())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=256)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for name in arguments.networks:
        compare(name, arguments.batch, arguments.threads)


if __name__ == "__main__":
    main()
