"""Measuring: what is timed, once for equal layers, kept if steady, and mended if damaged."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from espalier.fssl import TimeModel
from espalier.fssl.latency.measure import GATHER, Task, tasks, time_points
from espalier.fssl.latency.probes import BACKENDS, CSR, DENSE, LayerProbes, Point, Points
from espalier.nn.torch_tools import torch_threads
from tests.support.times import PretendedMachine, convnet, groups_of, mlp


@pytest.fixture
def machine(monkeypatch):
    return PretendedMachine(monkeypatch)


def measure(model, shape, folder, **options):
    return TimeModel.measure(groups_of(model, *shape), 32, threads=1, folder=folder, **options)


def test_linear_layers_are_timed_both_ways_and_convolutions_one():
    ways = [(task.layer.name, task.backend) for task in tasks(groups_of(mlp(), 64), 8, 1, BACKENDS)]
    assert ways == [
        *(("0", DENSE), ("0", CSR), ("0", GATHER)),
        *(("2", DENSE), ("2", CSR), ("4", DENSE), ("4", CSR)),
    ]
    found = tasks(groups_of(convnet(), 1, 8, 8), 8, 1, BACKENDS)
    assert [task.backend for task in found if task.layer.kind == "conv"] == [DENSE, DENSE]


def test_measured_once_and_read_back_bit_for_bit(tmp_path, machine):
    first = measure(mlp(), (64,), tmp_path)
    assert len(machine.asked) == 8
    again = measure(mlp(), (64,), tmp_path)
    assert len(machine.asked) == 8
    assert again.to_json() == first.to_json()


def test_equal_layers_are_measured_once(tmp_path, machine):
    model = nn.Sequential(nn.Linear(8, 8), *(nn.Linear(8, 8) for _ in range(4)), nn.Linear(8, 8))
    measure(model, (8,), tmp_path, backends=["dense"])
    # Five alike, the gather of the first, the last (whose outputs stay), and the overhead.
    assert len(machine.asked) == len(set(machine.asked)) == 4


@pytest.mark.parametrize("change", [{"first": 41}, {"inputs": 65}])
def test_other_shapes_are_measured_anew(tmp_path, machine, change):
    measure(mlp(), (64,), tmp_path)
    before = len(machine.asked)
    measure(mlp(**change), (change.get("inputs", 64),), tmp_path)
    assert len(machine.asked) > before
    assert len(set(machine.asked)) == len(machine.asked)


def test_batch_and_threads_have_times_of_their_own(tmp_path, machine):
    groups = groups_of(mlp(), 64)
    for batch, threads in ((32, 1), (64, 1), (32, 2)):
        TimeModel.measure(groups, batch, threads=threads, folder=tmp_path)
    assert len(set(machine.asked)) == len(machine.asked) == 3 * 8


def test_what_a_restless_machine_measured_is_not_kept(tmp_path, machine):
    machine.steady = False
    measure(mlp(), (64,), tmp_path)
    measure(mlp(), (64,), tmp_path)
    assert len(machine.asked) == 16
    assert not (tmp_path / "espalier").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: json.dumps(dict.fromkeys(json.loads(text))),
        lambda text: json.dumps({key: each[1:] for key, each in json.loads(text).items()}),
        lambda text: json.dumps({key: [-1.0] * len(e) for key, e in json.loads(text).items()}),
        lambda text: json.dumps({key: ["1"] * len(e) for key, e in json.loads(text).items()}),
        lambda text: json.dumps({key: [1e999] * len(e) for key, e in json.loads(text).items()}),
    ],
)
def test_a_damaged_cache_is_measured_anew(tmp_path, machine, damage):
    first = measure(mlp(), (64,), tmp_path)
    (file,) = (tmp_path / "espalier").iterdir()
    file.write_text(damage(file.read_text()))
    assert measure(mlp(), (64,), tmp_path).to_json() == first.to_json()
    assert len(machine.asked) == 16
    measure(mlp(), (64,), tmp_path)
    assert len(machine.asked) == 16


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, machine):
    (tmp_path / "espalier").write_text("in the way")
    assert measure(mlp(), (64,), tmp_path).seconds([64, 40, 24]) > 0


def few_points(task):
    """The same task at its smallest and its largest point."""
    return Task(
        task.key,
        task.layer,
        task.backend,
        Points([task.points.grid[0], task.points.grid[-1]], [], []),
    )


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (mlp(), (64,)),
        (convnet(), (1, 8, 8)),
        (
            nn.Sequential(
                nn.Conv2d(4, 8, 3, stride=2, padding="valid", dilation=2),
                nn.Conv2d(8, 8, 3, groups=8, padding="same"),
                nn.Flatten(),
                nn.Linear(8 * 4, 6),
                nn.Linear(6, 3),
            ),
            (4, 7, 7),
        ),
    ],
)
def test_every_layer_can_be_timed(model, shape):
    before = torch.get_rng_state()
    groups = groups_of(model, *shape)
    found = [few_points(task) for task in tasks(groups, 4, 1, BACKENDS)]
    told = []
    seconds, _ = time_points(groups, 4, 1, found, lambda done, total: told.append((done, total)))
    assert len(seconds) == sum(len(task.points.all) for task in found)
    assert all(0.0 < each < 10.0 for each in seconds)
    assert told[-1][0] == told[-1][1]
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_narrow_layers_have_the_units_asked_for():
    groups = groups_of(convnet(), 1, 8, 8)
    probes = LayerProbes(
        [(layer, groups.model.get_submodule(layer.name)) for layer in groups.layers], 5
    )
    conv, linear = groups.layers[1:]
    with torch.no_grad():
        assert probes.dense(conv, Point(2, 3))().shape == (5, 3, 2, 2)
        assert probes.dense(linear, Point(4, 10))().shape == (5, 10)
        assert probes.gather(groups_of(mlp(), 64).layers[0], 7)().shape == (5, 7)


def test_threads_of_torch_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
