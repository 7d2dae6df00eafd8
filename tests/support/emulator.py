"""Our CUDA kernels on the CPU: their own sources, compiled by the C++ compiler, run in fibers."""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from espalier.cuda.compiler import HEADERS, kernels, source, source_names

REPOSITORY = Path(__file__).resolve().parents[2]
HEADER = REPOSITORY / "tests" / "cuda" / "emulator" / "emulator.h"
_STRUCT = re.compile(r"^struct (?:alignas\([^)]*\) )?(\w+) \{", re.MULTILINE)
FLAGS = [
    *("-std=c++20", "-O1", "-g", "-fPIC", "-shared", "-DESPALIER_EMULATED", "-ffp-contract=off"),
    "-pthread",
    *("-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-Wno-unknown-pragmas"),
    *("-fsanitize=undefined", "-fno-sanitize-recover=undefined"),
]


class EmulationError(AssertionError):
    """A kernel did what no GPU would forgive."""


class Emulator:
    """Launches kernels by name.

    Attributes:
        seed: shuffles the order in which the threads of a block run; 0 leaves it.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.emulate.restype = ctypes.c_char_p
        self._library.emulate.argtypes = [
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.c_uint),
            ctypes.c_uint,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_uint,
        ]
        self._library.size_of.restype = ctypes.c_size_t
        self._library.size_of.argtypes = [ctypes.c_char_p]
        self.seed = 0

    def launch(
        self, name: str, grid: tuple[int, int, int], threads: int, shared: int, argument: int
    ) -> None:
        """Run a kernel over its grid, block by block; `argument` is the address of its struct."""
        most = kernels()[name].threads
        if threads > most:
            raise EmulationError(f"{name}: {threads} threads, its launch bounds say {most}")
        sizes = (ctypes.c_uint * 3)(*grid)
        said = self._library.emulate(name.encode(), sizes, threads, shared, argument, self.seed)
        if said is not None:
            raise EmulationError(f"{name}: {said.decode()}")

    def run(self, name: str, grid: Any, threads: int, argument: Any, shared: int = 0) -> None:
        """The same, given the struct itself and a grid of one or two numbers."""
        full = (*grid, 1, 1)[:3]
        self.launch(name, full, threads, shared, ctypes.addressof(argument))

    def size_of(self, struct: str) -> int:
        """Bytes of an argument as the compiler lays it out."""
        return int(self._library.size_of(struct.encode()))


@functools.cache
def load_emulator() -> Emulator:
    """The kernels as a library, compiled once for each state of the sources."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler to emulate the GPU with: set CXX, or install g++")
    # Under tools/sanitize the process has the address sanitizer loaded already.
    address = ["-fsanitize=address"] if "libasan" in os.environ.get("LD_PRELOAD", "") else []
    texts = [HEADER.read_text(), *map(source, (*source_names(), *HEADERS)), _program(), compiler]
    key = hashlib.sha256("\0".join([*texts, *FLAGS, *address]).encode()).hexdigest()[:16]
    folder = REPOSITORY / "build" / "emulator"
    library = folder / f"kernels-{key}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            _build(compiler, library, address)
    return Emulator(library)


def _build(compiler: str, library: Path, flags: list[str]) -> None:
    program = library.with_suffix(".cpp")
    program.write_text(_program())
    draft = library.with_suffix(".draft")
    includes = [f"-I{HEADER.parent}", f"-I{_sources()}"]
    command = [compiler, *FLAGS, *flags, *includes, str(program), "-o", str(draft)]
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    draft.replace(library)


def _program() -> str:
    """All sources in one, with a table of their kernels."""
    includes = "\n".join(f'#include "{name}"' for name in source_names())
    entries = "\n".join(f"  ENTRY({name}, {kernel.argument})" for name, kernel in kernels().items())
    structs = {match for name in source_names() for match in _STRUCT.findall(source(name))}
    plain = sorted(
        (structs & {kernel.argument for kernel in kernels().values()}) | {"ResidentLayer"}
    )
    sizes = "\n".join(f'  {{"{name}", sizeof({name})}},' for name in plain)
    return f"""#include <map>
{includes}
using namespace espalier;
#define ENTRY(name, type) {{#name, [](const void* a) {{ name(*static_cast<const type*>(a)); }}}},
static const std::map<std::string, void (*)(const void*)> kernels = {{
{entries}
}};
static const std::map<std::string, size_t> sizes = {{
{sizes}
  {{"LoadCsr", sizeof(LoadCsr<int>)}},
  {{"Epilogue", sizeof(Epilogue)}},
}};
extern "C" const char* emulate(const char* name, const unsigned* grid, unsigned threads,
                               size_t shared, const void* argument, unsigned seed) {{
  return emulator::launch(kernels.at(name), grid, threads, shared, argument, seed);
}}
extern "C" size_t size_of(const char* name) {{ return sizes.at(name); }}
"""


def _sources() -> Path:
    import espalier.cuda

    return Path(next(iter(espalier.cuda.__path__))) / "sources"
