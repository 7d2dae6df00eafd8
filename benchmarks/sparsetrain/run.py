"""The sections of the benchmark, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.harness.machine import measure_machine
from benchmarks.harness.report import Report
from benchmarks.harness.run import choose, measure_sections
from benchmarks.harness.section import Section
from benchmarks.sparsetrain import layers, networks, replay, steps
from benchmarks.sparsetrain.plot import save_plots
from benchmarks.sparsetrain.settings import Settings
from espalier.cli.picture import require_matplotlib
from espalier.errors import MissingExtraError
from espalier.progress import Watch, silent

SECTIONS: dict[str, Section[Settings]] = {
    module.SECTION.name: module.SECTION for module in (layers, networks, replay, steps)
}


def run(
    settings: Settings,
    sections: Sequence[str] = tuple(SECTIONS),
    *,
    output: Path | None = None,
    watch: Watch = silent,
) -> Report:
    """Measure the chosen sections.

    Arguments:
        sections: names out of `SECTIONS`, or ``all``.
        output: folder for `sparsetrain.json`, `sparsetrain.md` and the plots, written anew after
            every job.
        watch: called with a task and its unit; gives a context that takes its progress.

    Raises:
        InputError: a section or a layer of that name does not exist.
        MissingExtraError: torch is not installed, or a plot is wanted without matplotlib.
        EspalierError: zero-skip computes something else than PyTorch.
    """
    chosen = choose(SECTIONS, sections)
    if output is not None:
        require_matplotlib()
    with _torch_threads(settings.threads):
        report = Report.begin("sparsetrain", settings, measure_machine(settings.threads))
        return measure_sections(report, chosen, settings, watch, output=output, plot=save_plots)


def _torch_threads(threads: int) -> AbstractContextManager[int]:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError("torch", "bench", "the benchmark of training") from None
    from espalier.nn.torch_tools import torch_threads

    return torch_threads(threads)
