"""Our CUDA C++ becomes machine code: compiled by NVRTC when first needed, then read from disk.

Neither a toolkit nor a GPU is needed to compile, so a test does it for every source. A file of the
cache, in ``$XDG_CACHE_HOME/espalier/cuda``, is named after all that went into it, and begins with
the checksum of the rest.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from espalier.errors import DeviceError, MissingExtraError
from espalier.timing.cache import cache_folder, read_cached, write_cached

OPTIONS = (
    "--std=c++17",
    "--fmad=false",  # where a multiply and an add fuse is written in the source
    "-DDYNAMIC_SHARED(type,name)=extern __shared__ __align__(16) type name[]",
)
HEADERS = ("common.h",)
_CHECKSUM_BYTES = hashlib.sha256().digest_size
_KERNEL = re.compile(
    r'extern "C" __global__ void\s+__launch_bounds__\((\d+)\)\s+(\w+)\(const ([\w<>]+) a\)'
)


@functools.cache
def source(name: str) -> str:
    """The text of one of our sources, such as ``rows.cu``."""
    return resources.files("espalier.cuda").joinpath("sources", name).read_text()


@functools.cache
def source_names() -> tuple[str, ...]:
    """All sources with kernels, in alphabetical order."""
    folder = resources.files("espalier.cuda").joinpath("sources")
    return tuple(sorted(each.name for each in folder.iterdir() if each.name.endswith(".cu")))


class Kernel(NamedTuple):
    """One kernel: its source, the most threads of a block, the type of its argument."""

    source: str
    threads: int
    argument: str


@functools.cache
def kernels() -> dict[str, Kernel]:
    """All kernels by name.

    >>> kernels()["rows_64"]
    Kernel(source='rows.cu', threads=256, argument='Rows')
    """
    return {
        match[2]: Kernel(name, int(match[1]), match[3])
        for name in source_names()
        for match in _KERNEL.finditer(source(name))
    }


def machine_code(name: str, architecture: str, folder: Path | None = None) -> bytes:
    """The machine code of a source, from the cache or compiled now.

    Arguments:
        architecture: such as ``sm_90``.
        folder: of the cache, in place of the user's.

    Raises:
        MissingExtraError: there is no NVRTC. DeviceError: it does not compile this.
    """
    nvrtc = _nvrtc()
    version = nvrtc_version()
    recipe = [architecture, str(version), *OPTIONS, source(name), *map(source, HEADERS)]
    key = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:32]
    path = (folder or cache_folder() / "cuda") / f"{Path(name).stem}-{architecture}-{key}.cubin"
    cached = read_cached(path)
    checksum, code = cached[:_CHECKSUM_BYTES], cached[_CHECKSUM_BYTES:]
    if checksum == _checksum(code):
        return code
    compiled, log = _compile(nvrtc, name, architecture)
    if compiled is None:
        raise DeviceError(
            f"{name} does not compile for {architecture} with NVRTC {version[0]}.{version[1]}; "
            f"install another nvidia-cuda-nvrtc, or run on the CPU. It says:\n{log}"
        )
    write_cached(path, _checksum(compiled) + compiled)
    return compiled


def nvrtc_version() -> tuple[int, int]:
    """Version of the compiler, such as (13, 5)."""
    nvrtc = _nvrtc()
    try:
        _, major, minor = nvrtc.nvrtcVersion()
    except Exception as error:  # the binding's own classes differ from version to version
        raise MissingExtraError("nvidia-cuda-nvrtc", "gpu", "compiling GPU kernels") from error
    return int(major), int(minor)


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise MissingExtraError("cuda-bindings", "gpu", "compiling GPU kernels") from error
    return nvrtc


def _compile(nvrtc: Any, name: str, architecture: str) -> tuple[bytes | None, str]:
    """Machine code, None where it fails, and what the compiler said."""
    headers = [source(each).encode() for each in HEADERS]
    names = [each.encode() for each in HEADERS]
    program = _checked(
        nvrtc.nvrtcCreateProgram(source(name).encode(), name.encode(), len(names), headers, names)
    )
    options = [f"--gpu-architecture={architecture}".encode(), *map(str.encode, OPTIONS)]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = _filled(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
    code = None
    if int(result) == 0:
        code = _filled(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    nvrtc.nvrtcDestroyProgram(program)
    return code, log.decode(errors="replace").strip("\0 \n")


def _filled(measure: Callable[..., Any], write: Callable[..., Any], program: Any) -> bytes:
    """What NVRTC writes into bytes of ours.

    They are one longer than asked: Python has a single object for all bytes of length one, and an
    empty log, which is its final zero alone, would change every ``b" "`` of the process.
    """
    size = _checked(measure(program))
    room = bytes(size + 1)
    _checked(write(program, room))
    return room[:size]


def _checksum(code: bytes) -> bytes:
    return hashlib.sha256(code).digest()


def _checked(returned: tuple[Any, ...]) -> Any:
    """The value that came with a return code of 0."""
    if int(returned[0]) != 0:
        raise DeviceError(f"NVRTC failed with {returned[0]}; is its installation damaged?")
    return returned[1] if len(returned) > 1 else None
