"""NETWORK and INPUTS words: what they mean and which are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.cli.sources import (
    GeneratedInputs,
    GeneratedNetwork,
    open_network,
    parse_inputs,
    parse_network,
)
from espalier.errors import InputError


@given(
    st.sampled_from(["radixnet", "random"]),
    st.integers(1, 10**6),
    st.integers(1, 10**4),
    st.integers(0, 2**32),
)
def test_a_written_network_reads_back(generator, neurons, layers, seed):
    word = f"{generator}:{neurons}x{layers}"
    assert parse_network(word) == GeneratedNetwork(generator, neurons, layers)
    seeded = GeneratedNetwork(generator, neurons, layers, seed)
    assert parse_network(f"{word}:{seed}") == parse_network(str(seeded)) == seeded


@pytest.mark.parametrize(
    "word",
    ["radixnet:", "radixnet:1024", "random:8x0", "random:-8x2", "radixnet:8x2:", "random:8x2:x"],
)
def test_a_malformed_network_is_refused_by_its_name(word):
    with pytest.raises(InputError, match=word):
        parse_network(word)


@pytest.mark.parametrize("word", ["neuron1024", "a/random.mtx", "radixnet", "nets:1/net.tsv"])
def test_any_other_network_is_a_path(word):
    assert parse_network(word) == Path(word)


@pytest.mark.parametrize(
    ("word", "inputs"),
    [
        ("digits", GeneratedInputs(60_000)),
        ("digits:12", GeneratedInputs(12)),
        ("mnist:data", GeneratedInputs(60_000, Path("data"))),
        ("mnist:data:12", GeneratedInputs(12, Path("data"))),
        ("mnist:/a:b/mnist:7", GeneratedInputs(7, Path("/a:b/mnist"))),
        ("./digits", Path("digits")),
        ("images.tsv.gz", Path("images.tsv.gz")),
    ],
)
def test_inputs(word, inputs):
    assert parse_inputs(word) == inputs


@pytest.mark.parametrize("word", ["digits:", "digits:0", "digits:many", "mnist:", "mnist:data:0"])
def test_malformed_inputs_are_refused_by_their_name(word):
    with pytest.raises(InputError, match=word):
        parse_inputs(word)


@pytest.mark.parametrize("option", ["bias", "clip", "neurons", "layers"])
def test_options_for_files_are_refused_with_a_generator(option):
    with pytest.raises(InputError, match=f"--{option} 1"):
        open_network(GeneratedNetwork("radixnet", 16, 2), **{option: 1})
