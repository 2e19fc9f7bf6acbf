"""The documentation names what exists: relative links lead somewhere, and the files it names are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggregator.calls.event_page import event_page
from api.contract.docs_page import docs_page
from callmeter.commands.produce import produce
from tests.support.house_map import ARCHITECTURE, with_map
from tests.support.paths import DOCS, README, ROOT

PAGES = sorted([README, *DOCS.rglob("*.md")])
PACKAGES = ("ingest", "aggregator", "api", "callmeter")
FOLDERS = (*PACKAGES, "tests", "bench", "docs", "ops", "examples")
README_LINES_MAX = 200

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*\w)`")


def faults_of_links(page: str, text: str, folder: Path) -> Iterator[str]:
    """Relative links that lead nowhere."""
    for target in LINK.findall(text):
        path = target.partition("#")[0]
        if path and "://" not in path and not path.startswith(("mailto:", "/")) and not (folder / path).exists():
            yield f"{page}: the link {target} leads nowhere"


def faults_of_names(page: str, text: str) -> Iterator[str]:
    """Files of the repository, in backticks, that are not there."""
    for name in NAMED.findall(text):
        if not (ROOT / name).exists():
            yield f"{page}: names {name}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page: Path) -> None:
    """No link and no named file of a page is missing."""
    name, text = page.relative_to(ROOT).as_posix(), page.read_text()
    faults = [*faults_of_links(name, text, page.parent), *faults_of_names(name, text)]
    assert not faults, "\n".join(faults)


def test_what_is_missing_is_seen() -> None:
    """A dead link and a file that is not there are both found; a link to elsewhere and an anchor are not looked up."""
    text = "[a](gone.md#x) [b](https://example.org/x) [c](#here) `api/gone.py` `api/app.py`"
    found = [*faults_of_links("page", text, ROOT), *faults_of_names("page", text)]
    assert found == ["page: the link gone.md#x leads nowhere", "page: names api/gone.py, which is not there"]


def test_the_readme_is_short() -> None:
    """The README is for strangers: it fits a few screens."""
    assert README.read_text().count("\n") <= README_LINES_MAX


def test_the_map_is_the_house() -> None:
    """docs/architecture.md names every file with what it says of itself; `make map` writes it anew."""
    page = ARCHITECTURE.read_text()
    assert with_map(page) == page, "the map is not the house any more: make map"


def test_the_page_about_events_is_one() -> None:
    """docs/events.md is a copy of the page in the package, which /docs and `callmeter produce --help` show."""
    packaged = ROOT / "aggregator" / "calls" / "events.md"
    assert (DOCS / "events.md").read_text() == packaged.read_text(), "cp aggregator/calls/events.md docs/events.md"


def test_the_page_about_events_is_told_everywhere() -> None:
    """Every field and reason that the page names is at /docs and in the help of the command that sends events."""
    served, told = docs_page(), CliRunner().invoke(produce, ["--help"], terminal_width=120).output
    named = set(re.findall(r"`([a-z_]{4,})`", event_page()))
    assert {"project_id", "started_at", "wb_run_id", "too_late", "completion_tokens"} <= named
    for name in named:
        assert f"<code>{name}</code>" in served
        assert re.search(rf"\b{name}\b", told)


WALKS = ("**An event**", "**A message's bytes**", "**A question**")


def walks(page: str) -> list[list[str]]:
    """The files of each walk, in the order in which they are named."""
    starts = [page.index(title) for title in WALKS]
    ends = [*starts[1:], page.index("## Rooms")]
    return [re.findall(r"`([\w/]+\.py)`", page[start:end]) for start, end in zip(starts, ends, strict=True)]


def imported(path: str) -> set[str]:
    """The files that a file may import: modules, and names in packages."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {f"{name.replace('.', '/')}.py" for name in found}


def faults_of_walks(named: list[list[str]]) -> Iterator[str]:
    """Files that a reader cannot come to from what was named before; files that a walk comes back to."""
    reached: set[str] = set()
    for walk in named:
        for place, path in enumerate(walk):
            if path in walk[:place]:
                yield f"{path} is named twice"
            if place and path not in reached:
                yield f"{path} is imported by nothing before it"
            reached |= {path, *imported(path)}


def test_the_walks_can_be_followed() -> None:
    """Each file of a walk is imported by one before it, and no walk comes back to a file."""
    named = walks(ARCHITECTURE.read_text())
    assert [len(walk) > 8 for walk in named] == [True] * 3
    assert not list(faults_of_walks(named))


def test_a_walk_that_cannot_be_followed_is_seen() -> None:
    """A file without a way to it, and one that comes again, are both found."""
    walk = ["api/server.py", "ingest/worker.py", "api/app.py", "api/server.py"]
    assert list(faults_of_walks([walk])) == [
        "ingest/worker.py is imported by nothing before it",
        "api/server.py is named twice",
    ]
