"""The golden datasets: messages to be produced, cases to be asked, and the settings under which they hold."""

import json
import random
from functools import cache
from typing import Any, NamedTuple

from tests.pipeline.feed import Line
from tests.support.paths import CASES

DATASETS = sorted(path.name.removesuffix(".cases.json") for path in CASES.glob("*.cases.json"))


class Dataset(NamedTuple):
    """Messages, cases, and how many distinct calls have a start."""

    lines: list[Line]
    cases: list[dict[str, Any]]
    calls: int
    settings: dict[str, str]

    def shuffled_and_doubled(self, seed: int) -> list[Line]:
        """Every message twice, in another order."""
        return random.Random(seed).sample(self.lines * 2, 2 * len(self.lines))


@cache
def read_dataset(name: str) -> Dataset:
    """A dataset by its name."""
    document = json.loads((CASES / f"{name}.cases.json").read_text())
    messages = [json.loads(text) for text in (CASES / f"{name}.events.jsonl").read_text().splitlines()]
    lines = [Line(message["key"], json.dumps(message["value"]).encode()) for message in messages]
    settings = {"NOW": document["now"], "PRICES_FILE": str(CASES / document["prices"])}
    for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS"):
        settings[f"RETENTION__{level}"] = "3650d"
    return Dataset(lines, document["cases"], document["calls"], settings)
