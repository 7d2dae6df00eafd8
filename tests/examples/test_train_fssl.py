"""The tutorial runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_fssl.py"


def test_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runpy.run_path(str(EXAMPLE))["main"](["--epochs", "9"])
    said = capsys.readouterr().out.splitlines()
    wrong = [float(line.split()[1].rstrip("%")) for line in said[:3]]
    assert [line.split(":")[0].strip() for line in said[:3]] == ["dense", "shaped", "compact"]
    assert max(wrong) < 20.0
    part = said[2].split(", ")[1].split("%")[0]
    assert int(part) <= 30
