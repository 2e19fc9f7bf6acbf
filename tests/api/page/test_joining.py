"""The parts of the page's script become one module: in order, without imports, and never with a name twice."""

import pytest

from api.page.joining import joined

PARTS = {
    "page": 'import { ask } from "./asking.js";\nimport {\n  draw,\n} from "./charts.js";\nask(draw);\n',
    "charts": 'import { ask } from "./asking.js";\nconst size = 1;\nexport function draw() {}\n',
    "asking": "export async function ask() {}\n",
    "never": "export const unused = 1;\n",
}


def test_each_part_comes_after_those_it_needs() -> None:
    """Imports and the word `export` are gone, each part is there once, one that nobody needs is not."""
    assert joined(PARTS, "page") == (
        "// asking\nasync function ask() {}\n\n"
        "// charts\nconst size = 1;\nfunction draw() {}\n\n"
        "// page\nask(draw);\n\n"
    )


def test_a_name_of_two_parts() -> None:
    """A name that two parts of the page define is refused with both parts named: it would be one variable."""
    with pytest.raises(ValueError, match=r"asking\.js and charts\.js both name size"):
        joined(PARTS | {"asking": "export async function ask() {}\nlet size = 2;\n"}, "page")


def test_a_circle() -> None:
    """Parts that need each other have no order."""
    with pytest.raises(ValueError, match="page → asking → page is a circle"):
        joined({"page": PARTS["page"], "asking": 'import { x } from "./page.js";\n', "charts": ""}, "page")
