"""The sections of the benchmark on a GPU, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.challenge.settings import Settings
from benchmarks.challenge_gpu import layers, shortcuts, strategies, structureless
from benchmarks.harness.machine import measure_machine
from benchmarks.harness.report import Report
from benchmarks.harness.run import choose, measure_sections
from benchmarks.harness.section import Section
from espalier.cuda import open_device, parse_device
from espalier.progress import Watch, silent

SECTIONS: dict[str, Section[Settings]] = {
    module.SECTION.name: module.SECTION for module in (shortcuts, strategies, structureless, layers)
}
DEFAULT_SECTIONS = ("shortcuts", "structureless")


def run(
    settings: Settings,
    sections: Sequence[str] = DEFAULT_SECTIONS,
    *,
    output: Path | None = None,
    watch: Watch = silent,
) -> Report:
    """Measure the chosen sections on the GPU that the settings name.

    Arguments:
        sections: names out of `SECTIONS`, or ``all``.
        output: folder for `gpu.json` and `gpu.md`, written anew after every network.
        watch: called with a task and its unit; gives a context that takes its progress.

    Raises:
        InputError: a section of that name does not exist.
        DeviceError: no such GPU.
        EspalierError: a candidate computes something else than the others.
    """
    chosen = choose(SECTIONS, sections)
    open_device(parse_device(settings.device) or 0)  # before anything takes time
    report = Report.begin("gpu", settings, measure_machine(settings.threads))
    return measure_sections(
        report, chosen, settings, watch, output=output, plot=lambda report, folder: None
    )
