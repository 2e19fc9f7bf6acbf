"""The map of the house in docs/architecture.md, from the first line of each file; `make map` writes it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import DOCS, ROOT

ARCHITECTURE = DOCS / "architecture.md"
PACKAGES = ("ingest", "aggregator", "api", "callmeter")
BEGIN, END = "<!-- map: made by `make map` -->", "<!-- end of map -->"


def house_map() -> str:
    """A table for each folder: its files, each with what it is for."""
    return "\n".join(line for package in PACKAGES for line in _of_package(package))


def _of_package(package: str) -> Iterator[str]:
    folders = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
    for folder in folders:
        name = folder.relative_to(ROOT).as_posix()
        yield f"\n### `{name}/`\n"
        yield f"{_purpose(folder / '__init__.py')}\n"
        yield "| file | what it is for |\n|---|---|"
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                yield f"| `{name}/{path.name}` | {_purpose(path)} |"


def _purpose(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def with_map(text: str) -> str:
    """The page with the map as it is now."""
    return re.sub(
        re.escape(BEGIN) + r".*?" + re.escape(END), lambda _: f"{BEGIN}\n{house_map()}\n\n{END}", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_map(ARCHITECTURE.read_text()))
