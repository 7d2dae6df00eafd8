"""The plan of the house: who may call whom, wherever in a file the import stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "espalier"
BENCHMARKS = REPOSITORY / "benchmarks"

# A room is a folder or a file of the package. Each may call these and itself, nothing else.
GROUND = {"errors", "progress", "tables"}
NN = {"nn/zeroskip", "nn/sparse", "nn/networks", "nn/custom_ops", "nn/torch_tools", "nn"}
FSSL = {"fssl/groups", "fssl/latency", "fssl/shaping", "fssl/compaction", "fssl/model_file", "fssl"}
MAY_CALL: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "tables": set(),
    "timing": set(),
    "network": set(),
    "kernels": {"network", "timing", "_native"},
    "cuda": {"timing"},
    "files": {"network", "kernels"},
    "generate": {"network", "files"},
    "simplify": {"network", "kernels"},
    "inference": {"simplify", "kernels", "cuda", "network", "timing"},
    "partitioning": {"simplify", "network", "files", "kernels"},
    "nn": NN,
    "nn/torch_tools": {"kernels"},
    "nn/custom_ops": {"nn/torch_tools"},
    "nn/zeroskip": {"nn/custom_ops", "nn/torch_tools", "kernels", "timing"},
    "nn/sparse": {"nn/custom_ops", "nn/torch_tools", "kernels", "cuda", "generate"},
    "nn/networks": NN - {"nn/networks"} | {"generate"},
    "fssl": FSSL,
    "fssl/groups": NN,
    "fssl/latency": {"fssl/groups", "timing", "kernels", *NN},
    "fssl/shaping": {"fssl/groups", "fssl/latency", *NN},
    "fssl/compaction": {"fssl/groups", "fssl/latency", "network", "kernels", "simplify", *NN},
    "fssl/model_file": {*FSSL - {"fssl", "fssl/model_file"}, "network", "files", *NN},
    "training": {*FSSL, *NN, "files", "generate", "kernels", "network", "timing"},
    "distributed": {
        *("distributed/comm", "distributed/inference", "distributed/training"),
        "distributed/simulator",
    },
    "distributed/comm": {"kernels", "network", "partitioning", "files"},
    "distributed/simulator": {
        *("distributed/comm", "distributed/inference"),
        *("simplify", "inference", "partitioning", "network", "kernels"),
    },
    "distributed/inference": {
        *("distributed/comm", "simplify", "inference", "partitioning", "network", "kernels"),
    },
    "distributed/training": {
        *("distributed/comm", "partitioning", "training", "files", "network", "kernels"),
        *(*NN, *FSSL),
    },
}
EVERYBODY = {
    *("errors", "progress", "timing", "network", "kernels", "cuda", "files", "generate"),
    *("simplify", "inference", "partitioning", "training", *NN, *FSSL, "distributed"),
    *("distributed/comm", "distributed/inference", "distributed/training"),
    *("distributed/simulator",),
}
MAY_CALL["cli"] = {*EVERYBODY, ""}  # and the public surface
HEAVY = {
    *("torch", "sklearn", "matplotlib", "typer", "rich", "mpi4py", "mtkahypar", "graphblas"),
    *("pandas", "cuda"),
}
MAY_IMPORT_AT_TOP = {
    "cli": {"typer", "rich"},
    "nn": {"torch"},
    "fssl": {"torch"},
    "training": {"torch"},
    "distributed/training": {"torch"},
}


def module_of(file: Path) -> str:
    """`espalier.nn.zeroskip.relu`; a package by its own name."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {module_of(file): file for file in FILES}
INSIDE = [file for file in FILES if file.parent != SOURCE or file.stem[0] != "_"]


def named(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def room_of(module: str) -> str:
    """The smallest room of `MAY_CALL` that a module stands in; the package itself has none."""
    parts = module.split(".")[1:]
    rooms = ["/".join(parts[:length]) for length in (2, 1) if len(parts) >= length]
    return next((room for room in rooms if room in MAY_CALL), rooms[-1] if rooms else "")


def imported_modules(tree: ast.AST, nodes: list[ast.stmt] | None = None) -> Iterator[str]:
    """Every module that is imported, type-only imports counted: the file a name comes from."""
    for node in ast.walk(tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the whole name of the module"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in MODULES or alias.name == "_native" else str(node.module)


def imports_of(file: Path) -> set[str]:
    return set(imported_modules(ast.parse(file.read_text())))


@pytest.mark.parametrize("file", INSIDE, ids=named)
def test_rooms_call_only_whom_they_may(file):
    room = room_of(module_of(file))
    assert room in MAY_CALL, f"say in MAY_CALL whom {room} may call"
    called = {room_of(name) for name in imports_of(file) if name.split(".")[0] == "espalier"}
    assert called - GROUND - {room} <= MAY_CALL[room]


def test_no_circle_closes():
    """Not even one of imports under TYPE_CHECKING."""
    graph = {name: (imports_of(file) & MODULES.keys()) - {name} for name, file in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("file", INSIDE, ids=named)
def test_optional_packages_are_imported_lazily(file):
    tree = ast.parse(file.read_text())
    at_top = {name.split(".")[0] for name in imported_modules(tree, tree.body)}
    room = room_of(module_of(file))
    allowed = MAY_IMPORT_AT_TOP.get(room) or MAY_IMPORT_AT_TOP.get(room.split("/")[0], set())
    assert not (at_top & HEAVY) - allowed


def test_the_package_knows_no_benchmarks():
    assert not any(name.startswith("benchmarks") for file in FILES for name in imports_of(file))


def test_native_code_has_one_door():
    callers = {file for file in FILES if "espalier._native" in imports_of(file)}
    assert {room_of(module_of(file)) for file in callers} == {"kernels"}
