"""Where the files that tests read are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CASES = TESTS / "cases"
SCHEMAS = TESTS / "schemas"
README = ROOT / "README.md"
DOCS = ROOT / "docs"
