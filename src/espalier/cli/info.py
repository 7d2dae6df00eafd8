"""`espalier info`: the machine, the instruction set in force and why, threads and versions."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import espalier
from espalier.cli import format
from espalier.cli.console import print_facts, print_json
from espalier.cli.options import Json
from espalier.timing.processor import processor_name

PACKAGES = ("numpy", "scipy", "safetensors", "isal", "torch", "scikit-learn", "matplotlib")
MORE_PACKAGES = ("mpi4py", "openmpi", "mpich", "mtkahypar", "onnx", "onnxruntime")
GPU_PACKAGES = ("cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cusparse")
PEERS = ("python-graphblas", "suitesparse-graphblas")
OPENMP = re.compile(r"/\S*/(?:libgomp|libiomp5|libomp)[^/\s]*\.so[^/\s]*")


def info(as_json: Json = False) -> None:
    """What a bug report needs: processor, instruction set, threads and versions."""
    facts = describe_machine()
    if as_json:
        print_json(facts)
        return
    chosen = facts["instruction_set"]
    print_facts(
        f"espalier {facts['versions']['espalier']}",
        {
            "processor": facts["processor"],
            "cores": f"{facts['cores']} for this process, {facts['machine_cores']} in all",
            "caches": ", ".join(f"{name} {size}" for name, size in facts["caches"].items()),
            "memory": format.size(facts["memory_bytes"]),
            "instruction set": f"{chosen['name']}, {chosen['reason']}",
            "instruction sets": "\n".join(
                f"{entry['name']}: {'yes' if entry['available'] else 'no'}, needs {entry['needs']}"
                for entry in facts["instruction_sets"]
            ),
            "threads": str(facts["threads"]),
            "OpenMP": "\n".join(facts["openmp_runtimes"]) or "none loaded",
            "system": f"{facts['system']}, Python {facts['python']}",
            "versions": "\n".join(
                f"{name} {found or 'not installed'}" for name, found in facts["versions"].items()
            ),
        },
    )


def describe_machine() -> dict[str, Any]:
    """The facts of `espalier info` as JSON values."""
    from espalier import kernels

    sets = kernels.instruction_sets()
    forced = os.environ.get("ESPALIER_ISA")
    reason = "forced by ESPALIER_ISA" if forced else "the fastest this machine has"
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "machine_cores": os.cpu_count() or 1,
        "caches": _caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "instruction_set": {"name": kernels.instruction_set(), "reason": reason},
        "instruction_sets": [
            {"name": name, "needs": needs, "available": available}
            for name, needs, available in sets
        ],
        "threads": kernels.thread_count(),
        "openmp_runtimes": openmp_runtimes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"espalier": espalier.__version__}
        | {name: _version(name) for name in (*PACKAGES, *MORE_PACKAGES, *GPU_PACKAGES, *PEERS)},
    }


def openmp_runtimes() -> list[str]:
    """Paths of the OpenMP runtimes this process has loaded; more than one is a fault."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    return sorted(set(OPENMP.findall(maps)))


def _caches() -> dict[str, str]:
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        caches[f"L{level}{suffix}"] = size
    return caches


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
