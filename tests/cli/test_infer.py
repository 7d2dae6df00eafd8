"""`espalier infer`, `generate`, `convert` and `demo` from end to end on small networks."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

import espalier as esp

NETWORK = "random:64x3:5"


@pytest.fixture
def batch(tmp_path):
    """Ten samples of which every other one is zero."""
    samples = np.random.default_rng(3).random((10, 64), dtype=np.float32)
    samples[::2] = 0.0
    np.save(tmp_path / "inputs.npy", samples)
    return tmp_path / "inputs.npy"


def expected_activations(batch):
    values = np.load(batch).astype(np.float64).T
    for layer in esp.random_network(64, 3, seed=5):
        values = layer.weights.astype(np.float64) @ values + layer.bias[:, None]
        values = np.clip(values, 0.0, layer.clip)
    return values.T


def test_json_has_the_whole_result(espalier, batch):
    outcome = json.loads(espalier("infer", NETWORK, batch, "--json").stdout)
    expected = expected_activations(batch)
    assert outcome["network"] == {
        "source": NETWORK,
        "layers": 3,
        "inputs": 64,
        "outputs": 64,
        "connections": 3 * 64 * 32,
    }
    assert outcome["inputs"] == {"source": str(batch), "samples": 10}
    assert outcome["categories"] == np.count_nonzero(expected.any(axis=1))
    assert set(outcome["seconds"]) == {"load", "compile", "run"}
    assert outcome["rate"] > 0
    assert outcome["effective_operations"] > 0
    assert outcome["truth"] is None
    assert isinstance(outcome["report"], dict)


@pytest.mark.parametrize(
    "options",
    [
        ["--no-merge", "--no-fold", "--no-group", "--no-fixed-point"],
        *(["--filter", name] for name in ("none", "zero", "unique")),
        *(["--strategy", name] for name in ("auto", "buffer", "no-buffer", "filter")),
        ["--threads", "1", "--memory", "64MiB"],
    ],
    ids=" ".join,
)
def test_every_option_gives_the_same_answer(espalier, batch, tmp_path, options):
    target = tmp_path / "activations.npy"
    assert espalier("infer", NETWORK, batch, "--activations", target, *options).returncode == 0
    np.testing.assert_allclose(np.load(target), expected_activations(batch), rtol=1e-5, atol=1e-5)


def test_sparse_activations_read_back(espalier, batch, tmp_path):
    target = tmp_path / "activations.npz"
    espalier("infer", NETWORK, batch, "--activations", target)
    written = sp.load_npz(target).toarray()
    np.testing.assert_allclose(written, expected_activations(batch), rtol=1e-5, atol=1e-5)


def test_truth_decides_the_exit_code(espalier, batch, tmp_path):
    truth = tmp_path / "truth.tsv"
    assert espalier("infer", NETWORK, batch, "--output", truth).returncode == 0
    passed = espalier("infer", NETWORK, batch, "--truth", truth)
    assert passed.returncode == 0
    assert "PASSED" in passed.stdout

    numbers = truth.read_text().split()
    truth.write_text("\n".join([*numbers[1:], "11"]) + "\n")
    failed = espalier("infer", NETWORK, batch, "--truth", truth, "--json")
    verdict = json.loads(failed.stdout)["truth"]
    assert failed.returncode == 1
    assert verdict["missing"] == []
    assert verdict["extra"] == [int(numbers[0])]
    assert verdict["listed"] == verdict["compared"] + 1


@pytest.mark.parametrize("ending", [".safetensors", ".mtx", ""])
def test_generated_networks_convert_and_run(espalier, batch, tmp_path, ending):
    first, second = tmp_path / "first.safetensors", tmp_path / f"second{ending}"
    assert espalier("generate", "network", NETWORK, first).returncode == 0
    assert espalier("convert", first, second).returncode == 0
    outcomes = [
        json.loads(espalier("infer", network, batch, "--json").stdout)
        for network in (NETWORK, second)
    ]
    assert outcomes[0]["categories"] == outcomes[1]["categories"]
    assert outcomes[1]["network"]["connections"] == outcomes[0]["network"]["connections"]


def test_generated_images_are_inputs(espalier, tmp_path):
    target = tmp_path / "images.npz"
    made = json.loads(espalier("generate", "images", 64, target, "--count", 5, "--json").stdout)
    images = sp.load_npz(target)
    assert images.shape == (5, 64)
    assert made["set_pixels"] == images.nnz
    outcome = json.loads(espalier("infer", NETWORK, target, "--json").stdout)
    assert outcome["inputs"]["samples"] == 5


def test_inputs_of_another_width_are_refused(espalier, tmp_path):
    np.save(tmp_path / "narrow.npy", np.ones((2, 63), dtype=np.float32))
    outcome = espalier("infer", NETWORK, tmp_path / "narrow.npy")
    assert outcome.returncode == 2
    assert "63" in outcome.stderr
    assert "64" in outcome.stderr


@pytest.mark.parametrize("words", [["missing.mtx", "digits:5"], [NETWORK, "missing.npy"]])
def test_missing_files_are_named(espalier, words):
    outcome = espalier("infer", *words)
    assert outcome.returncode == 2
    assert "missing" in outcome.stderr


def test_official_network_has_the_official_categories(espalier, challenge_data):
    outcome = espalier(
        *("infer", challenge_data / "neuron1024.tar.gz"),
        challenge_data / "sparse-images-1024-first1200.tsv.gz",
        *("--bias", "-0.30", "--clip", "32", "--json"),
        *("--truth", challenge_data / "neuron1024-l120-categories.tsv"),
    )
    verdict = json.loads(outcome.stdout)["truth"]
    assert outcome.returncode == 0
    assert verdict["passed"]
    assert (verdict["compared"], verdict["listed"]) == (19, 1812)


def test_demo_agrees_with_scipy(espalier):
    outcome = json.loads(espalier("demo", "challenge", "--samples", 300, "--json").stdout)
    assert outcome["passed"]
    assert outcome["connections"] == 3_932_160
    assert outcome["runs"]["scipy"]["samples"] == 300
    assert "PASSED" in espalier("demo", "challenge", "--samples", 50).stdout
