"""Who may call whom: imports run one way, wherever in a file they stand."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "espalier"
EVERYBODY = {"errors", "watch"}
# csr is the network's cellar: the checks of its arrays; chain reads it out of PyTorch models.
MAY_CALL = {
    "errors": set(),
    "watch": set(),
    "csr": set(),
    "chain": set(),
    "network": {"csr", "chain"},
    "kernels": {"network", "_native"},
    "cuda": set(),
    "files": {"network", "csr", "_native"},
    "generate": {"network", "files"},
    "inference": {"network", "kernels", "cuda", "_native"},
    "partitioning": {"network", "kernels", "files", "_native"},
    "nn": {"kernels", "network", "generate", "cuda"},
    "fssl": {"nn", "network", "inference", "files", "kernels"},
    "training": {"fssl", "nn", "network", "files", "kernels", "generate"},
    "distributed": {
        *("partitioning", "network", "csr", "kernels", "files", "inference", "_native"),
        *("nn", "fssl", "training"),
    },
    "bench": {
        *("kernels", "network", "files", "generate", "inference", "cuda"),
        *("nn", "fssl", "training", "partitioning", "distributed"),
    },
    "cli": {
        *("bench", "kernels", "network", "files", "generate", "inference", "cuda"),
        *("nn", "fssl", "training", "partitioning", "distributed"),
    },
}
SURFACE = {"__init__", "__main__"}
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


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def imported_modules(tree: ast.AST, nodes: list[ast.stmt] | None = None) -> set[str]:
    names = set()
    for node in ast.walk(tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "espalier":
            names |= {f"espalier.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the whole name of the module"
            names.add(str(node.module))
    return names


ROOMS = set(MAY_CALL) | {"_native"}
FILES = [file for file in sorted(SOURCE.rglob("*.py")) if room_of(file) not in SURFACE]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_run_one_way(file):
    room = room_of(file)
    assert room in MAY_CALL, f"say in MAY_CALL whom {room} may call"
    inside = [name.split(".") for name in imported_modules(ast.parse(file.read_text()))]
    called = {name[1] for name in inside if name[0] == "espalier" and len(name) > 1}
    assert called & ROOMS - EVERYBODY - {room} <= MAY_CALL[room]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_optional_packages_are_imported_lazily(file):
    tree = ast.parse(file.read_text())
    at_top = {name.split(".")[0] for name in imported_modules(tree, tree.body)}
    rooms = room_of(file), "/".join(file.relative_to(SOURCE).parts[:2])
    assert not (at_top & HEAVY) - set().union(*(MAY_IMPORT_AT_TOP.get(room, ()) for room in rooms))


def test_surface_calls_neither_command_line_nor_benchmarks():
    names = imported_modules(ast.parse((SOURCE / "__init__.py").read_text()))
    assert not any(name.startswith(("espalier.cli", "espalier.bench")) for name in names)
