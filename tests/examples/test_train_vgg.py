"""The tutorial runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_vgg.py"
FEW = ("--steps", "2", "--batch", "8", "--threads", "1")


@pytest.fixture
def main():
    return runpy.run_path(str(EXAMPLE))["main"]


def test_on_digits(main, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    main(FEW)
    said = capsys.readouterr().out
    dense, accelerated, difference, ratio = said.splitlines()[:4]
    assert dense.split()[0] == "dense:" and accelerated.split()[0] == "accelerated:"
    losses = [line.split(" loss ")[1].split(",")[0] for line in (dense, accelerated)]
    starts = [float(loss.split()[0]) for loss in losses]
    assert starts[0] == pytest.approx(starts[1], rel=1e-3)
    assert "first losses differ by" in difference and "times as fast" in ratio


def test_on_mnist(main, mnist_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main((*FEW, "--mnist", str(mnist_data)))
    assert capsys.readouterr().out.count("test digits right") == 2
