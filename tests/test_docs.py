"""The documents point at things that exist."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
ROOMS = ("src", "native", "tests", "benchmarks", "examples", "tools")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document):
    targets = [link for link in LINK.findall(document.read_text()) if "://" not in link]
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


def test_readme_names_every_command_and_target():
    readme = (REPOSITORY / "README.md").read_text()
    targets = re.findall(r"^(demo|test):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert all(f"make {target}" in readme for target in targets)
    commands = {"demo", "infer", "train", "compact", "generate", "convert", "bench", "info"}
    assert commands <= set(re.findall(r"(?:espalier|make) (\w+)", readme))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_source_files_that_are_named_are_there(document):
    named = re.findall(r"`([\w./-]+\.(?:py|cpp|h|cu))`", document.read_text())
    files = [path for room in ROOMS for path in (REPOSITORY / room).rglob("*")]
    missing = [name for name in named if not any(path.match(name) for path in files)]
    assert missing == []


def test_the_plan_of_the_house_names_rooms_that_are_there():
    plan = (REPOSITORY / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w./-]+)/`", plan)
    roots = (REPOSITORY, REPOSITORY / "src" / "espalier")
    assert [name for name in named if not any((root / name).is_dir() for root in roots)] == []
