"""The drawing of a shard's keys at the top of `keys.py` says what the code does: all keys, no other, no torn row."""

import inspect
import re
from types import SimpleNamespace
from typing import Any

from aggregator.layout import keys
from aggregator.layout.keys import ShardKeys, ShardName

SHARD = ShardName("namespace", "topic", 0)
ROW = re.compile(r"    \{tag\}:(\S+) +(?:string|hash|zset) +\S")
CONTINUED = re.compile(r" {34}\S")

# What stands in the drawing for each argument of a key; a key with another argument needs a letter of its own.
LETTERS: dict[str, Any] = {
    "project": "P",
    "day": "D",
    "level": SimpleNamespace(letter="L"),
    "block": "B",
    "index": "K",
    "chunk": "C",
    "trace": b"T",
}


def drawn_keys(drawing: str) -> list[str]:
    """The keys of all rows; a row that the drawing could not hold in one piece is an error."""
    found = []
    for line in drawing.splitlines():
        if row := ROW.match(line):
            found.append(row[1])
        else:
            assert CONTINUED.match(line), f"a torn row: {line!r}"
    return found


def made_keys() -> list[str]:
    """Returns the keys that `ShardKeys` makes, with letters for the arguments."""
    made = ShardKeys(SHARD)
    names = [value for name, value in vars(made).items() if not name.startswith("_")]
    for name, method in inspect.getmembers(made, inspect.ismethod):
        if not name.startswith("_"):
            names.append(method(*(LETTERS[argument] for argument in inspect.signature(method).parameters)))
    texts = [name.decode() if isinstance(name, bytes) else name for name in names]
    return [text.removeprefix(f"{SHARD.tag}:") for text in texts]


def test_the_drawing_shows_each_key_once() -> None:
    """Every key of `ShardKeys` has a row, and every row is a key."""
    drawing = re.search(r"^    \{tag\}:.*?(?=\n\n)", keys.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert drawing is not None
    assert sorted(drawn_keys(drawing[0])) == sorted(made_keys())
