"""Bad text, gzip and tars: one clear error that names the file, the line and the fault."""

from __future__ import annotations

import gzip
import io
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier import EspalierError, FileError, InputError
from tests.files.networks import small_network

GOOD = b"1\t1\t0.5\n2\t1\t6.250000e-02\n1\t2\t-1\n"


def load_layer(path: Path, text: bytes) -> esp.Layer:
    path.write_bytes(text)
    return esp.load(path, bias=0.0, neurons=2)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 1 1\n0 1 1\n", r"line 2: index 0 lies outside 1 \.\.\. 2, and files count from 1"),
        (b"1 1 1\n1 0 1\n", r"line 2: index 0 lies outside"),
        (b"3 1 1\n", r"line 1: index 3 lies outside 1 \.\.\. 2"),
        (b"1 -2 1\n", r"line 1: index -2 lies outside"),
        (b"99999999999999999999 1 1\n", r"line 1: index 99999999999999999999 lies outside"),
        (b"4294967297 1 1\n", r"line 1: index 4294967297 lies outside"),
        (b"1 1 1\nx 1 1\n", r"line 2: 'x' is not an index"),
        (b"1.0 1 1\n", r"line 1: '1.0' is not an index"),
        (b"1 1 one\n", r"line 1: value 'one' is not a number"),
        (b"1 1 1.5.\n", r"line 1: value '1.5.' is not a number"),
        (b"1 1 0x10\n", r"line 1: value '0x10' is not a number"),
        (b"1 1 nan\n", r"line 1: value 'nan' is not finite"),
        (b"1 1 -inf\n", r"line 1: value '-inf' is not finite"),
        (b"1 1 1e39\n", r"line 1: value '1e39' is not finite in float32"),
        (b"1 1 1e999\n", r"line 1: value '1e999' is not finite"),
        (b"1 1\n", r"line 1: lacks its value"),
        (b"1\n", r"line 1: a field is missing"),
        (b"1 1 1 1\n", r"line 1: '1' is one field too many"),
        (b"1 1 1\n\n2 2 2\n", r"line 2: is blank, but entries follow it"),
        (b"1 1 1\n1 1 2\n", r"line 2: the entry 1 1 appears twice"),
        (b"2 1 1\n2 2 1\n2 1 3\n", r"the entry 2 1 appears twice"),
        (b"", r"is empty"),
        (b"\n\n", r"is empty"),
        (b"\0" * 40, r"line 1"),
        (b"1 " * 4000, r"line 1: the line is too long"),
    ],
)
def test_bad_lines(text: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message) as caught:
        load_layer(tmp_path / "a-l1.tsv", text)
    assert str(tmp_path / "a-l1.tsv") in str(caught.value)


def test_errors_name_lines_far_into_large_files(tmp_path: Path) -> None:
    text = b"".join(b"%d\t1\t1\n" % line for line in range(1, 200_001)) + b"1 2 1\n7 x 1\n"
    (tmp_path / "a-l1.tsv").write_bytes(text)
    with pytest.raises(FileError, match="line 200002: 'x' is not an index"):
        esp.load(tmp_path / "a-l1.tsv", bias=0.0, neurons=200_000)


def test_values_that_round_to_zero_are_zero(tmp_path: Path) -> None:
    layer = load_layer(tmp_path / "a-l1.tsv", b"1 1 1e-60\n2 1 1e-400\n")
    assert layer.values.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("number", [1_000_000_000, 2**31 - 1])
def test_one_huge_index_allocates_nothing(number: int, tmp_path: Path) -> None:
    text = f"{number} {number} 1\n"
    (tmp_path / "a-l1.tsv").write_text(text)
    with pytest.raises(FileError, match=r"but only 1 entries.*neurons="):
        esp.load(tmp_path / "a-l1.tsv", bias=0.0)
    with pytest.raises(FileError, match=r"but only 1 entries.*samples="):
        esp.load_inputs(tmp_path / "a-l1.tsv", width=2**31 - 1)


def test_missing_layers(tmp_path: Path) -> None:
    for number in (1, 2, 4, 5, 7):
        (tmp_path / f"n2-l{number}.tsv").write_bytes(GOOD)
    with pytest.raises(FileError, match=r"lacks layer 3, 6 of 1 \.\.\. 7"):
        esp.load(tmp_path, bias=0.0)
    with pytest.raises(FileError, match="lacks layer 3"):
        esp.load(tmp_path, bias=0.0, layers=4)
    assert len(esp.load(tmp_path, bias=0.0, layers=2)) == 2
    (tmp_path / "n2-l999999999.tsv").write_bytes(GOOD)
    with pytest.raises(FileError, match="lacks layer 3, 6, 8"):
        esp.load(tmp_path, bias=0.0)


def test_layers_that_are_there_twice(tmp_path: Path) -> None:
    (tmp_path / "n2-l1.tsv").write_bytes(GOOD)
    (tmp_path / "n2-l1.tsv.gz").write_bytes(gzip.compress(GOOD))
    with pytest.raises(FileError, match="holds layer 1 twice"):
        esp.load(tmp_path, bias=0.0)


def test_no_layers(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no layers"):
        esp.load(tmp_path, bias=0.0)
    with pytest.raises(FileError, match="does not exist"):
        esp.load(tmp_path / "absent")
    (tmp_path / "net.bin").write_bytes(b"x")
    with pytest.raises(FileError, match="no suffix of a network"):
        esp.load(tmp_path / "net.bin")


@pytest.mark.parametrize("kind", ["n2-l1.tsv.gz", "net.tar.gz"])
def test_truncated_gzip(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    text = b"".join(b"%d %d %d\n" % (i % 2 + 1, i + 1, i * i) for i in range(2, 9000))
    if kind == "n2-l1.tsv.gz":
        path.write_bytes(gzip.compress(text))
    else:
        esp.save(small_network(), path)
    whole = path.read_bytes()
    for size in {0, 1, 5, 12, len(whole) // 2, len(whole) - 9, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(FileError):
            esp.load(path, bias=0.0, neurons=9000)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_damaged_gzip(place: float, tmp_path: Path) -> None:
    path = tmp_path / "net.tar.gz"
    esp.save(small_network(), path)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"net\.tar\.gz"):
        esp.load(path)


def tar_of(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("_", "-") + ".tsv")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_truncated_tar(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "net.tar", n2_l1=GOOD, n2_l2=GOOD).read_bytes()
    assert len(esp.load(tmp_path / "net.tar", bias=0.0)) == 2
    for size in (0, 100, 512, 520, 1024, 1100, 1536, 2048):
        (tmp_path / "net.tar").write_bytes(whole[:size])
        with pytest.raises(FileError, match="is not a whole tar"):
            esp.load(tmp_path / "net.tar", bias=0.0)


def test_tar_with_a_damaged_header(tmp_path: Path) -> None:
    content = bytearray(tar_of(tmp_path / "net.tar", n2_l1=GOOD, n2_l2=GOOD).read_bytes())
    content[1024 + 130] ^= 1  # in the second header, which its checksum no longer fits
    (tmp_path / "net.tar").write_bytes(content)
    with pytest.raises(FileError, match="is not a whole tar"):
        esp.load(tmp_path / "net.tar", bias=0.0)


def test_tar_that_claims_a_huge_member(tmp_path: Path) -> None:
    member = tarfile.TarInfo("n2-l1.tsv")
    member.size = 1 << 60
    (tmp_path / "net.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + GOOD)
    with pytest.raises(FileError):
        esp.load(tmp_path / "net.tar", bias=0.0)
    member.type = tarfile.XHDTYPE
    (tmp_path / "net.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + GOOD)
    with pytest.raises(FileError, match="a header in it is too long"):
        esp.load(tmp_path / "net.tar", bias=0.0)


def test_tar_errors_name_the_member(tmp_path: Path) -> None:
    tar_of(tmp_path / "net.tar", n2_l1=GOOD, n2_l3=GOOD)
    with pytest.raises(FileError, match="lacks layer 2"):
        esp.load(tmp_path / "net.tar", bias=0.0)
    tar_of(tmp_path / "net.tar", n2_l1=GOOD, n2_l2=b"1 x 1\n")
    with pytest.raises(FileError, match=r"net\.tar:n2-l2\.tsv, line 1: 'x'"):
        esp.load(tmp_path / "net.tar", bias=0.0)
    with pytest.raises(InputError, match="unpack it"):
        esp.load(tmp_path / "net.tar", bias=0.0, lazy=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends before the size line"),
        ("hello\n1 1 1\n1 1 1\n", "line 1: wanted '%%MatrixMarket"),
        ("%%MatrixMarket matrix array real general\n1 1\n1\n", "line 1: wanted"),
        ("%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 1\n", "line 1: wanted"),
        ("%%MatrixMarket matrix coordinate real symmetric\n1 1 1\n1 1 1\n", "wanted general"),
        ("%%MatrixMarket matrix coordinate real general\n-1 1 1\n1 1 1\n", "line 2: '-1 1 1'"),
        ("%%MatrixMarket matrix coordinate real general\n1 1\n", "line 2"),
        ("%%MatrixMarket matrix coordinate real general\n9999999999 1 1\n1 1 1\n", "too large"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n", "holds 1 entries"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 1\n", "line 3: index 3"),
        ("%%MatrixMarket matrix coordinate real general\n% a\n2 2 1\n1 1\n", "line 4: lacks"),
        ("%%MatrixMarket matrix coordinate real general\n%espalier {\n1 1 0\n", "JSON"),
        ("%%MatrixMarket matrix coordinate real general\n%espalier 7\n1 1 0\n", "layer 0"),
    ],
)
def test_bad_matrix_market(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "layer.mtx").write_text(text)
    with pytest.raises(FileError, match=message):
        esp.load(tmp_path / "layer.mtx", bias=0.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "does not hold JSON"),
        ("[]", "not a JSON object"),
        ('{"format": "other"}', "format 'other'"),
        ('{"format": "espalier-network", "format_version": "2"}', "format version '2'"),
        ('{"format": "espalier-network", "format_version": "1", "layers": 3}', "no list of layers"),
        (
            '{"format": "espalier-network", "format_version": "1", "layers": '
            '[{"outputs": -1, "inputs": 2, "nonzeros": 3, "activation": "relu", "bias": 0}]}',
            "outputs=-1",
        ),
        (
            '{"format": "espalier-network", "format_version": "1", "layers": '
            '[{"outputs": 2, "inputs": 2, "nonzeros": 2, "activation": "relu", "bias": 0}]}',
            "holds 3 entries, network.json says 2",
        ),
        (
            '{"format": "espalier-network", "format_version": "1", "layers": '
            '[{"outputs": 2, "inputs": 2, "nonzeros": 3, "activation": "tanh", "bias": 0}]}',
            "activation is 'tanh'",
        ),
        (
            '{"format": "espalier-network", "format_version": "1", "layers": '
            '[{"outputs": 2, "inputs": 2, "nonzeros": 3, "activation": "relu", "bias": "x"}]}',
            "bias",
        ),
        (
            '{"format": "espalier-network", "format_version": "1", "layers": '
            '[{"outputs": 2, "inputs": 2, "nonzeros": 3, "activation": "relu", "bias": 0, '
            '"clip": "x"}]}',
            "clip",
        ),
    ],
)
def test_bad_description(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "n2-l1.tsv").write_bytes(GOOD)
    (tmp_path / "network.json").write_text(content)
    with pytest.raises(FileError, match=message):
        esp.load(tmp_path)


def test_bytes_that_are_no_text_are_shown_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "picture.tsv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(FileError, match=r"picture\.tsv, line 1: '\\x89PNG' is not an index"):
        esp.load_inputs(path)


def test_bad_arguments(tmp_path: Path) -> None:
    (tmp_path / "n2-l1.tsv").write_bytes(GOOD)
    for arguments in ({"neurons": 0.5}, {"neurons": -1}, {"layers": 0}, {"neurons": [2, "x"]}):
        with pytest.raises(InputError):
            esp.load(tmp_path, bias=0.0, **arguments)
    for arguments in ({"bias": float("nan")}, {"bias": "x"}, {"clip": -1.0}, {"activation": "a"}):
        with pytest.raises(EspalierError):
            esp.load(tmp_path, **({"bias": 0.0} | arguments))


@settings(max_examples=300)
@given(
    position=st.integers(0, len(GOOD)),
    removed=st.integers(0, 4),
    inserted=st.one_of(
        st.binary(max_size=6), st.text("0123456789 \t\r\n+-.eEnaif", max_size=6).map(str.encode)
    ),
)
@example(position=0, removed=0, inserted=b"\n")
@example(position=0, removed=0, inserted=b"\0")
@example(position=len(GOOD) - 2, removed=2, inserted=b"1e")
def test_fuzzed_text(position: int, removed: int, inserted: bytes, tmp_path: Path) -> None:
    text = GOOD[:position] + inserted + GOOD[position + removed :]
    try:
        layer = load_layer(tmp_path / "a-l1.tsv", text)
    except EspalierError:
        return
    # What is accepted means what a plain reading of the text means.
    plain = {}
    for line in text.split(b"\n"):
        if line.strip(b" \t\r"):
            source, target, value = line.split()
            plain[int(target) - 1, int(source) - 1] = float(value)
    dense = layer.weights.toarray()
    assert layer.nonzeros == len(plain)
    for place, value in plain.items():
        assert dense[place] == pytest.approx(value, rel=1e-6)


@settings(max_examples=60)
@given(cuts=st.lists(st.integers(0, len(GOOD)), max_size=8))
def test_text_may_be_cut_anywhere(cuts: list[int]) -> None:
    from espalier.files.text import parse_entries

    edges = [0, *sorted(cuts), len(GOOD)]
    chunks = [GOOD[a:b] for a, b in pairwise(edges)]
    matrix = parse_entries(chunks, "text", row_first=False).matrix(2, 2)
    assert matrix.toarray().tolist() == [[0.5, 0.0625], [-1.0, 0.0]]
