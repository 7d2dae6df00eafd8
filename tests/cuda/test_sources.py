"""Every CUDA source compiles without a GPU and without a warning, and is cached."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

import espalier as esp
from espalier.cuda import arguments, compiler
from tests.support.emulator import load_emulator

ARCHITECTURES = ("sm_80", "sm_90")
STRUCTS = sorted(
    {kernel.argument.split("<")[0] for kernel in compiler.kernels().values()}
    | {"Epilogue", "ResidentLayer"}
)


def all_sources() -> str:
    return "".join(map(compiler.source, (*compiler.HEADERS, *compiler.source_names())))


@pytest.fixture
def nvrtc() -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", compiler.source_names())
def test_sources_compile_without_a_word(name: str, architecture: str, tmp_path: Path) -> None:
    code, said = compiler._compile(compiler._nvrtc(), name, architecture)
    assert code and said == ""
    assert b" ".decode() == chr(32)  # Python's own bytes were not written into


@pytest.mark.usefixtures("nvrtc")
def test_machine_code_is_compiled_once(tmp_path: Path) -> None:
    code = compiler.machine_code("store.cu", "sm_90", tmp_path)
    assert code.startswith(b"\x7fELF")
    (file,) = tmp_path.iterdir()
    with patch.object(compiler, "_compile", side_effect=AssertionError("compiled again")):
        assert compiler.machine_code("store.cu", "sm_90", tmp_path) == code
    assert compiler.machine_code("store.cu", "sm_80", tmp_path) != code
    file.write_bytes(file.read_bytes()[:-1])
    assert compiler.machine_code("store.cu", "sm_90", tmp_path) == code
    file.unlink()
    assert compiler.machine_code("store.cu", "sm_90", tmp_path) == code


@pytest.mark.usefixtures("nvrtc")
def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert compiler.machine_code("store.cu", "sm_90", tmp_path / "file")


@pytest.mark.usefixtures("nvrtc")
def test_a_gpu_the_compiler_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(esp.DeviceError, match="does not compile for sm_10 with NVRTC"):
        compiler.machine_code("store.cu", "sm_10", tmp_path)


@pytest.mark.parametrize("name", STRUCTS)
def test_arguments_lie_as_the_kernels_read_them(name: str) -> None:
    struct = getattr(arguments, name)
    assert load_emulator().size_of(name) == ctypes.sizeof(struct)
    fields = [field for field, _ in struct._fields_]
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", all_sources(), re.DOTALL)[1]
    words = re.findall(r"\w+", re.sub("//.*", "", body))
    assert fields == [word for word in words if word in fields] and len(fields) == len(set(fields))


def test_arguments_have_the_types_of_their_source() -> None:
    pointer, number = ctypes.c_void_p, ctypes.c_int
    assert arguments.Rows._fields_ == [
        *((name, pointer) for name in ("x", "y", "count", "offsets", "entries", "rows")),
        *((name, number) for name in ("row_count", "inputs", "outputs")),
        ("epilogue", arguments.Epilogue),
    ]
    assert dict(arguments.LoadDense._fields_)["row_stride"] is ctypes.c_longlong
    assert dict(arguments.Epilogue._fields_)["lower"] is ctypes.c_float
    with pytest.raises(AttributeError, match="no source has a struct X"):
        _ = arguments.X


def test_import_touches_neither_bindings_nor_driver() -> None:
    program = (
        "import sys, espalier, espalier.cuda, espalier.inference.gpu\n"
        "found = [name for name in sys.modules if name == 'cuda' or name.startswith('cuda.')]\n"
        "assert not found, found\n"
        "maps = open('/proc/self/maps').read()\n"
        "assert 'libcuda' not in maps and 'nvrtc' not in maps"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
