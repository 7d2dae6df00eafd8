"""ONNX files of compact models compute what the models do, in onnxruntime."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from espalier import accelerate, fssl
from espalier.errors import InputError, MissingExtraError, NetworkError
from espalier.fssl.model_file import onnx as onnx_export
from espalier.nn import SparseLinear
from espalier.nn.networks import LeNet5, ResNet
from espalier.nn.networks.resnet import BasicBlock
from tests.support.models import SmallFixup, damage, randomise

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="onnx and onnxruntime are absent: pip install onnx onnxruntime",
)


def run(path: Path, x: torch.Tensor) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input0": x.numpy()})[0]


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    return nn.Sequential(nn.Flatten(), *layers)


@needs_onnx
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (perceptron(), (1, 3, 3)),
        (LeNet5(), (1, 28, 28)),
        (ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5), (3, 32, 32)),
        (SmallFixup(), (1, 8, 8)),
    ],
    ids=["perceptron", "lenet", "resnet", "fixup"],
)
def test_compact_models_run_in_onnxruntime_at_any_batch(
    model: nn.Module, shape: tuple[int, ...], tmp_path: Path
) -> None:
    randomise(model, 0)
    damage(model, 0)
    x = torch.rand(5, *shape)
    small = fssl.compact(model, fssl.find_groups(model, x)).train()
    path = tmp_path / "model.onnx"
    fssl.export_onnx(small, path, x[:2])
    assert small.training
    wanted = small.eval()(x).detach().numpy()
    np.testing.assert_allclose(run(path, x), wanted, atol=1e-4 * float(np.abs(wanted).max()))


@needs_onnx
@pytest.mark.parametrize("alone", [True, False])
def test_sparse_layers_are_written_dense_with_a_warning(alone: bool, tmp_path: Path) -> None:
    sparse = SparseLinear(6, 4, density=0.3)
    model = sparse if alone else nn.Sequential(sparse, nn.ReLU())
    path, x = tmp_path / "model.onnx", torch.rand(3, 6)
    with pytest.warns(UserWarning, match="written dense, zeros and all"):
        fssl.export_onnx(model, path, x)
    np.testing.assert_allclose(run(path, x), model(x).detach().numpy(), atol=1e-6)


@needs_onnx
def test_accelerated_models_are_written_with_plain_layers(tmp_path: Path) -> None:
    x = torch.rand(32, 64)
    model = accelerate(nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)), x)
    fssl.export_onnx(model, tmp_path / "model.onnx", x)
    wanted = model(x).detach().numpy()
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x), wanted, atol=1e-5)


@needs_onnx
def test_a_file_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "RTOL", -1.0)
    with pytest.raises(NetworkError, match="onnxruntime differs by"):
        fssl.export_onnx(perceptron(), tmp_path / "model.onnx", torch.rand(2, 9))
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_sparse_layers_that_stand_twice_are_written_dense(tmp_path: Path) -> None:
    twice = SparseLinear(9, 9, density=0.5)
    model, x = nn.Sequential(twice, nn.ReLU(), twice), torch.rand(4, 9)
    with pytest.warns(UserWarning, match="written dense"):
        fssl.export_onnx(model, tmp_path / "model.onnx", x)
    wanted = model(x).detach().numpy()
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x), wanted, atol=1e-5)


@needs_onnx
def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not run on the example"):
        fssl.export_onnx(perceptron(), tmp_path / "model.onnx", torch.rand(2, 5))
    with pytest.raises(InputError, match="returns a dict, wanted a tensor"):
        fssl.export_onnx(Several(dict), tmp_path / "model.onnx", torch.rand(2, 9))


class Several(nn.Module):
    """Two outputs, in a tuple or a dict."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.a, self.b, self.kind = nn.Linear(9, 3), nn.Linear(9, 2), kind

    def forward(self, x: torch.Tensor) -> Any:
        pairs = (("a", self.a(x)), ("b", self.b(x)))
        return dict(pairs) if self.kind is dict else tuple(y for _, y in pairs)


@needs_onnx
def test_several_outputs_are_written_and_compared(tmp_path: Path) -> None:
    import onnxruntime

    model, x = Several(tuple), torch.rand(4, 9)
    fssl.export_onnx(model, tmp_path / "model.onnx", x)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [each.name for each in session.get_outputs()] == ["output0", "output1"]
    for came, wanted in zip(session.run(None, {"input0": x.numpy()}), model(x), strict=True):
        np.testing.assert_allclose(came, wanted.detach().numpy(), atol=1e-5)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch>=2\.5' 'onnx"):
        fssl.export_onnx(perceptron(), tmp_path / "model.onnx", torch.rand(2, 9))
