"""Settings refuse what no training can have, by name."""

from __future__ import annotations

import pytest

from espalier.errors import InputError
from espalier.training import Settings, Target

BAD = [
    ({"method": "prune"}, "method is 'prune', wanted one of fssl, magnitude, rigl, dense"),
    ({"optimizer": "lion"}, "optimizer is 'lion', wanted one of sgd, adam"),
    ({"time": "guessed"}, "time is 'guessed'"),
    ({"epochs": 0}, "epochs is 0"),
    ({"epochs": 2.5}, "epochs is 2.5"),
    ({"batch": -1}, "batch is -1"),
    ({"seed": -1}, "seed is -1"),
    ({"seed": 2**64}, "seed is 18446744073709551616, wanted a whole number from 0 to"),
    ({"threads": 99999}, "threads is 99999, wanted 1 to 1024"),
    ({"lr": 0.0}, "lr is 0.0"),
    ({"lr": float("nan")}, "lr is nan"),
    ({"weight_decay": -1e-3}, "weight_decay is -0.001"),
    ({"dense_part": 0.7, "sparsify_part": 0.5}, "add up to 1"),
    ({"sparsify_part": 0.0}, "the second above 0"),
    ({"mix": 2.0}, "mix is 2.0"),
    ({"target_time": 0.3, "target_units": 0.2}, "target_time and target_units are given"),
    ({"target_time": 0.0}, "target_time is 0.0, wanted a part between 0 and 1"),
    ({"target_zeros": 95}, "target_zeros is 95"),
    ({"method": "magnitude", "target_time": 0.3}, "method magnitude takes target_zeros"),
    ({"method": "dense", "target_zeros": 0.3}, "method dense takes no target"),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_bad_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**values)


def test_each_method_has_a_target_of_its_own() -> None:
    assert Settings(method="fssl").target == Target("time", 0.3)
    assert Settings(method="magnitude").target == Target("zeros", 0.9)
    assert Settings(method="dense").target is None
    assert Settings(target_units=0.4).target == Target("units", 0.4)


def test_they_survive_json() -> None:
    settings = Settings(method="rigl", target_zeros=0.8, seed=4)
    assert Settings.from_json(settings.to_json()) == settings
    with pytest.raises(InputError, match="settings hold 'colour'"):
        Settings.from_json({"colour": "red"})


def test_a_target_is_a_bound() -> None:
    assert Target("time", 0.3).met_by(0.29) and not Target("time", 0.3).met_by(0.31)
    assert Target("zeros", 0.9).met_by(0.91) and not Target("zeros", 0.9).met_by(0.89)
