"""Figures belong to a processor, which has a name."""

from __future__ import annotations

from pathlib import Path

from espalier.timing.processor import processor_name


def test_processor_name(tmp_path: Path) -> None:
    description = tmp_path / "cpuinfo"
    description.write_text("processor\t: 0\nmodel name\t: Fast One 9000\nmodel name\t: other\n")
    assert processor_name(description) == "Fast One 9000"
    assert processor_name(tmp_path / "absent")
