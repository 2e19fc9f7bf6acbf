"""The walls between rooms: import-linter's contracts hold, and each of them sees the import that it forbids."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("ingest", "aggregator", "api", "callmeter")
SCRIPT = Path(sys.executable).parent / "lint-imports"

# By contract, as pyproject.toml names it: a file, and an import in it that the contract forbids.
FORBIDDEN = {
    "ingest and api stand on the aggregator": ("ingest/worker.py", "import api.refusals"),
    "aggregator: ": ("aggregator/reading/calls.py", "import aggregator.writing.fold"),
    "ingest: ": ("ingest/decoding/refs.py", "import ingest.kafka.message"),
    "api: ": ("api/query/zones.py", "import api.contract.openapi"),
    "questions know no HTTP": ("api/query/zones.py", "import starlette"),
    "callmeter: ": ("callmeter/settings.py", "import callmeter.commands.up"),
}
# A room or a file that no contract places: by contract, where it lies.
UNPLACED = {f"{package}: ": f"{package}/attic.py" for package in PACKAGES}


def broken_contracts(tree: Path) -> list[str]:
    """The names of the contracts that a tree breaks; wrapped names are put together again."""
    found = subprocess.run([SCRIPT, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)
    assert "Contracts: " in found.stdout, found.stdout + found.stderr
    told = found.stdout.partition("dependencies.")[2].partition("\nContracts: ")[0]
    told = " ".join(told.replace("-", "").split())
    return [name.strip() for name, state in re.findall(r"(.+?) (KEPT|BROKEN)(?: |$)", told) if state == "BROKEN"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages, to be broken."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_wall_is_broken(tree: Path) -> None:
    """The tree as it is breaks no contract."""
    assert broken_contracts(tree) == []


@pytest.mark.parametrize("contract", FORBIDDEN)
def test_each_wall_sees_what_it_forbids(contract: str, tree: Path) -> None:
    """One import added where it may not be breaks the contract that is there to see it."""
    path, line = FORBIDDEN[contract]
    file = tree / path
    file.write_text(f"{file.read_text()}\n{line}\n")
    assert any(name.startswith(contract) for name in broken_contracts(tree))


@pytest.mark.parametrize("contract", UNPLACED)
def test_a_new_room_must_be_placed(contract: str, tree: Path) -> None:
    """A file beside the rooms that no layer names breaks the contract of its package."""
    (tree / UNPLACED[contract]).write_text('"""Nothing."""\n')
    assert any(name.startswith(contract) for name in broken_contracts(tree))
