"""`python -m benchmarks sparsetrain`: training that skips zeros, beside PyTorch and the paper."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.benchmark import Benchmark
from benchmarks.sparsetrain import layers, networks, replay, steps
from benchmarks.sparsetrain.plot import save_plots
from benchmarks.sparsetrain.settings import Settings
from espalier.errors import MissingExtraError


@contextmanager
def _with_torch_threads(settings: Settings, _: Path | None) -> Iterator[Settings]:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError("torch", "bench", "the benchmark of training") from None
    from espalier.nn.torch_tools import torch_threads

    with torch_threads(settings.threads):
        yield settings


SPARSETRAIN = Benchmark(
    "sparsetrain",
    (layers.SECTION, networks.SECTION, replay.SECTION, steps.SECTION),
    save_plots,
    prepare=_with_torch_threads,
)
