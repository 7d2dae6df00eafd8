"""The file of a model: back bit for bit, or refused."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import espalier as esp
from espalier import FileError, fssl
from espalier.errors import InputError
from espalier.files.container import read_tensors, write_tensors
from espalier.fssl.model_file.model_file import MODEL
from espalier.nn import SparseLinear, networks
from espalier.nn.networks.resnet import BasicBlock
from tests.support.models import damage

SPEC = {"spec": "mlp:9-8", "in_channels": 1, "size": 4, "num_classes": 3}


class Csr:
    """A time model that runs layers of more than 8 units sparse."""

    def backend(self, layer: Any, inputs: int, outputs: int, nonzeros: int) -> str:
        return "csr" if layer.in_width == 16 else "dense"


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = networks.build(**SPEC)
    damage(model, 0)
    return fssl.compact(model, fssl.find_groups(model, torch.rand(4, 1, 4, 4)), time=Csr())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    fssl.save(small_model(), path, spec=SPEC, metadata={"seed": 7})
    return path


def assert_same(model: nn.Module, other: nn.Module) -> None:
    wanted, came = model.state_dict(), other.state_dict()
    assert list(came) == list(wanted)
    assert all(torch.equal(came[name], wanted[name]) for name in wanted)


def test_a_compact_model_comes_back_bit_for_bit(saved: Path) -> None:
    model = small_model()
    loaded = fssl.load(saved)
    assert_same(model, loaded)
    assert not loaded.training
    assert str(loaded) == str(model)
    assert isinstance(loaded[1], nn.Sequential) and isinstance(loaded[1][1], SparseLinear)
    assert str(fssl.compact_report(loaded)) == str(fssl.compact_report(model))
    assert fssl.load_metadata(saved) == {"seed": 7} and fssl.load_spec(saved) == SPEC
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(loaded(x), model.eval()(x))
    loaded.train()(x).sum().backward()
    assert loaded[5].weight.grad is not None


def test_without_a_spec_the_original_is_asked_for_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fssl.save(torch.compile(small_model(), backend="eager"), path)
    with pytest.raises(FileError, match=r"does not say how to build .* load\(path, model="):
        fssl.load(path)
    fresh = networks.build(**SPEC)
    before = copy.deepcopy(fresh)
    assert_same(small_model(), fssl.load(path, fresh))
    assert_same(before, fresh)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("lenet5", 28),
        ("vgg-small:2", 28),
        ("radixnet:64x2", 8),
    ],
)
def test_other_networks_come_back(name: str, side: int, tmp_path: Path) -> None:
    spec = {"spec": name, "in_channels": 1, "size": side, "num_classes": 3}
    model = networks.build(**spec)
    damage(model, 0)
    small = fssl.compact(model, fssl.find_groups(model, torch.rand(2, 1, side, side)))
    fssl.save(small, tmp_path / "m", spec=spec)
    assert_same(small, fssl.load(tmp_path / "m"))


def test_a_residual_network_with_batch_norms_comes_back(tmp_path: Path) -> None:
    model = networks.ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3)
    damage(model, 0)
    small = fssl.compact(model, fssl.find_groups(model, torch.rand(2, 3, 32, 32)))
    fssl.save(small, tmp_path / "m")
    assert_same(small, fssl.load(tmp_path / "m", model))


def test_a_sparse_layer_alone_comes_back_with_its_pattern(tmp_path: Path) -> None:
    layer = SparseLinear(6, 4, density=0.5)
    fssl.save(layer, tmp_path / "m")
    loaded = fssl.load(tmp_path / "m", SparseLinear(6, 4, density=0.2))
    assert_same(layer, loaded)
    x = torch.rand(2, 6)
    assert torch.equal(loaded(x), layer(x))


def test_a_sparse_layer_without_connections_comes_back(tmp_path: Path) -> None:
    layer = SparseLinear.from_dense(torch.zeros(2, 3), torch.ones(2))
    fssl.save(layer, tmp_path / "model.safetensors")
    same = fssl.load(tmp_path / "model.safetensors", layer)
    assert same.nonzeros == 0 and torch.equal(same(torch.ones(1, 3)), torch.ones(1, 2))


def test_a_norm_does_not_gain_weights(tmp_path: Path) -> None:
    fssl.save(nn.BatchNorm1d(3), tmp_path / "m")
    with pytest.raises(FileError, match="holds 'bias', which no module has"):
        fssl.load(tmp_path / "m", nn.BatchNorm1d(3, affine=False))


def test_models_that_were_never_compacted_and_compacted_twice(tmp_path: Path) -> None:
    model = networks.build(**SPEC)
    fssl.save(model, tmp_path / "m", spec=SPEC)
    assert_same(model, fssl.load(tmp_path / "m"))
    small = small_model()
    with torch.no_grad():
        small[1][1].values[small[1][1].column_indices == 0] = 0.0
    twice = fssl.compact(small, fssl.find_groups(small, torch.rand(4, 1, 4, 4)), time=Csr())
    fssl.save(twice, tmp_path / "m", spec=SPEC)
    assert_same(twice, fssl.load(tmp_path / "m"))


@given(data=st.data())
def test_one_flipped_bit_is_refused(data: st.DataObject, tmp_path_factory: Any) -> None:
    content = _content()
    position = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "m"
    path.write_bytes(flipped)
    with pytest.raises(FileError):
        fssl.load(path)


@given(data=st.data())
def test_a_file_cut_short_is_refused(data: st.DataObject, tmp_path_factory: Any) -> None:
    content = _content()
    path = tmp_path_factory.mktemp("cut") / "m"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(FileError):
        fssl.load(path)


@cache
def _content() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m")
        fssl.save(small_model(), path, spec=SPEC)
        return path.read_bytes()


Edit = Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]


def rewrite(path: Path, edit: Edit, version: int = MODEL.version) -> None:
    """The file with another content, whose checksum is right."""
    values, tensors = read_tensors(path, MODEL, safetensors.torch.load, lambda *_: "")
    edit(values["manifest"], tensors)
    file_format = MODEL._replace(version=version)
    write_tensors(path, file_format, values, safetensors.torch.save(tensors))


def module(name: str, **changes: Any) -> Edit:
    return lambda manifest, tensors: manifest["modules"][name].update(changes)


def tensor(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Edit:
    return lambda manifest, tensors: tensors.update({name: value(tensors[name]).contiguous()})


def first_is(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(old: torch.Tensor) -> torch.Tensor:
        old.view(-1)[0] = number
        return old

    return change


HOSTILE: list[tuple[str, Edit, str]] = [
    ("column", tensor("1.1.column_indices", first_is(1 << 30)), "1.1 has no pattern"),
    ("negative", tensor("1.1.column_indices", first_is(-1)), "1.1 has no pattern"),
    ("falling", tensor("1.1.column_indices", lambda x: x.flip(0)), "1.1 has no pattern"),
    ("offsets", tensor("1.1.row_offsets", first_is(-8)), "1.1 has no pattern"),
    ("short", tensor("1.1.row_offsets", lambda x: x[:-1]), "1.1 has no pattern"),
    ("values", tensor("1.1.values", lambda x: x[1:]), r"1.1.values is \["),
    ("nan", tensor("3.weight", first_is(float("nan"))), "3.weight holds NaN"),
    ("dtype", tensor("3.weight", lambda x: x.double()), "3.weight is torch.float64"),
    ("shape", tensor("3.weight", lambda x: x.flatten()), "3.weight is"),
    ("bias", tensor("3.bias", lambda x: x[:-1]), "3.bias is"),
    ("selected", tensor("1.0.indices", first_is(-1)), "1.0.indices must rise"),
    ("selected order", tensor("1.0.indices", lambda x: x.flip(0)), "1.0.indices must rise"),
    ("selected beyond", tensor("1.0.indices", lambda x: x + 9), "1.0.indices must rise"),
    ("selected less", tensor("1.0.indices", lambda x: x[1:]), "1.0"),
    ("lost tensor", lambda m, t: t.pop("3.bias"), "lacks '3.bias'"),
    ("lost pattern", lambda m, t: t.pop("1.1.row_offsets"), "lacks '1.1.row_offsets'"),
    ("one more", lambda m, t: t.update(more=torch.ones(1)), "holds 'more'"),
    ("wider", module("3", inputs=1 << 20), "3 is"),
    ("huge", module("1.1", outputs=1 << 40), "which is no module"),
    ("kind", module("3", kind="conv"), "3 is conv here"),
    ("unknown kind", module("3", kind="os.system"), "which is no module"),
    ("kind of another type", module("3", kind=[]), "which is no module"),
    ("more said", module("3", extra=1), "does not describe '3'"),
    ("no such module", lambda m, t: m["modules"].update({"9": m["modules"]["3"]}), "no module '9'"),
    ("no modules", lambda m, t: m.pop("modules"), "lists no modules"),
    ("build", lambda m, t: m["build"].update(spec="rm -rf"), "no model can be built"),
    ("build more", lambda m, t: m["build"].update(more=1), "builds its model from"),
    (
        "huge build",
        lambda m, t: m["build"].update(spec="mlp:999999-999999"),
        "1 is linear 999999 x 16",
    ),
    ("endless", lambda m, t: m["compaction"].update(samples=float("inf")), "report of the"),
    ("report", lambda m, t: m["compaction"].pop("layers"), "report of the compaction"),
]


@pytest.mark.parametrize(
    ("edit", "message"), [each[1:] for each in HOSTILE], ids=[each[0] for each in HOSTILE]
)
def test_hostile_content_is_refused_by_name(saved: Path, edit: Edit, message: str) -> None:
    rewrite(saved, edit)
    with pytest.raises(FileError, match=message):
        fssl.load(saved)


def test_other_formats_and_versions_are_refused(saved: Path, tmp_path: Path) -> None:
    rewrite(saved, lambda m, t: None, version=3)
    with pytest.raises(FileError, match=r"version '3', .* a newer espalier"):
        fssl.load(saved)
    network = tmp_path / "net.safetensors"
    esp.save(esp.Network([esp.Layer([[1.0]], 0.0)]), network)
    with pytest.raises(FileError, match=r"'espalier-network', wanted .* espalier.load"):
        fssl.load(network)
    with pytest.raises(FileError, match="does not exist"):
        fssl.load(tmp_path / "absent")
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(FileError, match="no safetensors file"):
        fssl.load(tmp_path / "text")
    with pytest.raises(FileError):
        fssl.load(tmp_path)


def test_another_original_is_refused(saved: Path) -> None:
    with pytest.raises(FileError, match="in its original size"):
        fssl.load(saved, nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    with pytest.raises(FileError, match="3 is absent, and was linear 8 x 9"):
        fssl.load(saved, nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.ReLU()))


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    model, path = networks.build(**SPEC), tmp_path / "m"
    with pytest.raises(InputError, match=r"spec .* does not make this model"):
        fssl.save(model, path, spec={**SPEC, "num_classes": 4})
    with pytest.raises(InputError, match="spec is 'lenet5', wanted a dict"):
        fssl.save(model, path, spec="lenet5")
    with pytest.raises(InputError, match="metadata does not fit"):
        fssl.save(model, path, metadata={"x": torch.ones(1)})
    with pytest.raises(InputError, match="metadata does not fit"):
        fssl.save(model, path, metadata={"x": float("nan")})
    with pytest.raises(InputError, match="metadata is a list, wanted a dict"):
        fssl.save(model, path, metadata=[1])
    with pytest.raises(InputError, match="model is a int"):
        fssl.save(3, path)
    model[3].bias = model[1].bias
    with pytest.raises(InputError, match=r"3.bias and 1.bias are one parameter"):
        fssl.save(model, path)
    assert not path.exists()


def test_a_failed_save_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(InputError):
        fssl.save(small_model(), saved, metadata={"x": object()})
    assert saved.read_bytes() == before


def test_a_sparse_layer_without_weights(tmp_path: Path) -> None:
    model = nn.Sequential(SparseLinear(4, 3, density=0.0))
    fssl.save(model, tmp_path / "empty.safetensors")
    x = torch.randn(2, 4)
    assert torch.equal(fssl.load(tmp_path / "empty.safetensors", model)(x), model(x))
