"""`espalier partition`, and the commands that run on ranks."""

from __future__ import annotations

import json

import numpy as np
import pytest

import espalier as esp


def test_a_partition_is_made_shown_and_saved(espalier, tmp_path):
    target, picture = tmp_path / "net.partition", tmp_path / "words.png"
    outcome = espalier(
        "partition", "radixnet:256x4", "--parts", 4, "--output", target, "--plot", picture
    )

    assert outcome.returncode == 0
    assert "times fewer words than random" in outcome.stdout
    assert "instead of" in outcome.stderr  # what was predicted
    assert esp.load_partition(target).parts == 4
    assert picture.exists()


def test_json_has_every_layer(espalier, tmp_path):
    target = tmp_path / "net.partition"
    outcome = espalier(
        "partition", "random:64x2", "--parts", 2, "--method", "hash", "--output", target, "--json"
    )
    report = json.loads(outcome.stdout)

    assert report["fingerprint"] == esp.load_partition(target).fingerprint
    assert [len(report["layers"][name]) for name in ("hash", "random", "block")] == [2, 2, 2]


def test_a_partition_lies_beside_its_network(espalier, tmp_path):
    esp.save(esp.radixnet(64, 2), tmp_path / "net.safetensors")
    espalier("partition", tmp_path / "net.safetensors", "--parts", 2)

    assert (tmp_path / "net.P2.partition").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("partition", "radixnet:64x2", "--parts", "2", "--imbalance", "-1"), "imbalance is -1"),
        (("partition", "absent.mtx", "--parts", "2"), "does not exist"),
        (("partition", ".", "--parts", "2"), ". holds no layers"),
        (("infer", "radixnet:64x2", "digits:5", "--parts", "2"), "give --ranks too"),
        (("infer", "radixnet:64x2", "digits:5", "--transport", "shared"), "give --ranks too"),
        (
            ("infer", "radixnet:64x2", "digits:5", "--ranks", "3", "--parts", "2"),
            "parts is 2 with 3 ranks, wanted a divisor",
        ),
        (
            ("infer", "radixnet:64x2", "digits:5", "--ranks", "2", "--memory", "1GiB"),
            "are for one process",
        ),
        (("train", "--ranks", "2", "--resume"), "--resume wants --output"),
        (("train", "--ranks", "2", "--model", "mlp:8"), "wanted radixnet:NEURONSxLAYERS"),
    ],
)
def test_bad_arguments_are_one_line(espalier, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = espalier(*arguments)

    assert outcome.returncode == 2
    assert message in outcome.stderr


def test_parts_beside_a_partition_of_others_are_refused(espalier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    espalier("partition", "radixnet:64x2", "--parts", 2)
    file = "radixnet-64x2.P2.partition"
    outcome = espalier(
        *("infer", "radixnet:64x2", "digits:5", "--ranks", 2, "--parts", 1, "--partition", file)
    )

    assert outcome.returncode == 2
    assert "--parts 1 beside a partition of 2 parts" in outcome.stderr


def test_ranks_print_what_one_process_does(espalier_process, tmp_path):
    activations = tmp_path / "activations.npy"
    arguments = ("infer", "radixnet:256x6", "digits:50", "--json")
    alone = json.loads(espalier_process(*arguments).stdout)
    ranks = espalier_process(*arguments, "--ranks", 2, "--parts", 2, "--activations", activations)
    outcome = json.loads(ranks.stdout)

    assert outcome["categories"] == alone["categories"]
    assert (outcome["report"]["parts"], outcome["report"]["replicas"]) == (2, 1)
    expected = esp.infer(esp.radixnet(256, 6), esp.challenge_images(256, 50)).activations
    np.testing.assert_allclose(np.load(activations), expected, atol=1e-4)


def test_an_error_on_ranks_is_one_line_and_names_the_rank(espalier_process):
    outcome = espalier_process(
        "infer", "radixnet:256x6", "digits:5", "--ranks", 2, "--filter", "unique"
    )

    assert outcome.returncode == 2
    assert "error: rank 0" in outcome.stderr
    assert "filter is 'unique', wanted 'zero' or 'none' on several ranks" in outcome.stderr
    assert "MPI_ABORT" not in outcome.stderr
