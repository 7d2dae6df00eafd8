"""The documents point at things that exist."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
ROOTS = (REPOSITORY, REPOSITORY / "src" / "espalier", REPOSITORY / "native")
SOURCES = (".py", ".cpp", ".h", ".cu")
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
def test_files_and_rooms_that_are_named_are_there(document):
    spans = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", document.read_text())
    named = [span for span in spans if span.endswith(SOURCES) or span.rstrip("/") != span]
    missing = [span for span in named if not any((root / span).exists() for root in ROOTS)]
    assert missing == []
