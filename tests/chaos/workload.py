"""What is produced: agent traces with all that producers and networks do to them, and what must be answered in the end.

Of a hundred messages ten come again, five are up to seven days late (`Span`), and one is no event; ends overtake
starts, some starts and ends never come. The same seed gives the same messages.
"""

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from bench.generator import GeneratorSettings, generate
from tests.brute_force import Invalid, Model, PriceList
from tests.brute_force.calls import Calls
from tests.brute_force.events import Event, decode
from tests.chaos.questions import questions
from tests.pipeline.feed import Line
from tests.support.paths import CASES

PRICES = CASES / "prices.yaml"
# Long past, so that no clock matters, and over the night in which European clocks go forward.
BEGIN = datetime(2025, 3, 26, tzinfo=UTC)


class Span(NamedTuple):
    """How many days all of it takes, and how late a late event is, from and up to so many days; what is asked about
    ends at `asked_until`, a day or more after all.
    """

    days: float = 8.0
    delay_days_min: float = 0.0
    delay_days_max: float = 7.0
    asked_until: str = "2025-04-10"


WEEK = Span()
# So long that some of what is late is a month late, and all of it later than a day.
SIX_WEEKS = Span(42.0, 1.0, 30.0, "2025-05-10")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000

DUPLICATED, DELAYED, JITTERED, INVALID, LOST = 0.10, 0.05, 0.20, 0.01, 0.005
JITTER_LINES = 30

# What makes an event none: a word of it, and what stands there instead.
_SPOILED = [
    (b'"project_id":"', b'"project":"'),
    (b'{"mode":"', b'{"mode":"re'),
    (b'ed_at":"2025', b'ed_at":"1999'),
    (b'Z"', b"Z"),
    (b'"id":"', b'"id":12,"no":"'),
]


class Workload:
    """Lines to be produced in this order, about one and an eighth of `events`, each with the events it brings."""

    def __init__(self, seed: int, events: int, roll_ups: bool = True, span: Span = WEEK) -> None:
        self.seed = seed
        self.asked_until = span.asked_until
        self._events_count = events
        rng = random.Random(seed)
        self.lines = _disturb(list(_undisturbed(seed, events, span)), rng, span)
        self.events: dict[bytes | None, tuple[Event, ...]] = {None: ()}
        self.events |= {line.value: _decoded(line.value) for line in self.lines}
        if not roll_ups:
            self.lines = [line for line in self.lines if not any(map(_may_roll_up, self.events[line.value]))]

    @cached_property
    def of_scattered_traces(self) -> "Workload":
        """Returns this workload without what may be roll-ups: where a trace lies in several shards these count all they
        state."""
        return Workload(self.seed, self._events_count, roll_ups=False)

    @cached_property
    def of_six_weeks(self) -> "Workload":
        """Returns another one, of which what is late is 1 to 30 days late."""
        return Workload(self.seed, self._events_count, span=SIX_WEEKS)

    @cached_property
    def model(self) -> Model:
        """All of it, folded by the brute force."""
        return self.fold(line.value for line in self.lines)

    @cached_property
    def cases(self) -> list[dict[str, Any]]:
        """Questions about all of it, with the answers of the brute force."""
        return self.ask(self.model)

    @property
    def invalid_lines(self) -> int:
        """How many lines are no events."""
        return sum(not self.events[line.value] for line in self.lines)

    def fold(self, values: Iterable[bytes | None]) -> Model:
        """The brute force's model of some of the messages."""
        calls = Calls()
        for value in values:
            for event in self.events[value]:
                calls.add(event)
        return Model(calls, [], PriceList.from_file(PRICES))

    def ask(self, model: Model) -> list[dict[str, Any]]:
        """The questions that a model is asked, with its answers."""
        asked = questions(model, random.Random(self.seed), self.asked_until)
        return [model.case(path, request, NOW) for path, request in asked]


def _undisturbed(seed: int, events: int, span: Span) -> Iterable[Line]:
    settings = GeneratorSettings(events // 2 + 1, BEGIN, span.days, seed, 0, users=20, ops=12, projects=3, key="trace")
    for text in generate(settings):
        key, value = text.removeprefix(b'{"key":"').removesuffix(b"}\n").split(b'","value":', 1)
        yield Line(key.decode(), value)


def _disturb(lines: list[Line], rng: random.Random, span: Span) -> list[Line]:
    """The lines as they arrive: sorted by when they do, counted in lines."""
    arriving: list[tuple[float, int, Line]] = []
    delay_min, delay_max = (days / span.days * len(lines) for days in (span.delay_days_min, span.delay_days_max))
    for number, line in enumerate(lines):
        if rng.random() < LOST:
            continue
        at = float(number)
        if rng.random() < DELAYED:
            at += rng.uniform(delay_min, delay_max)
        elif rng.random() < JITTERED:
            at += rng.uniform(0, JITTER_LINES)
        arriving.append((at, len(arriving), line))
        if rng.random() < DUPLICATED:
            arriving.append((at + rng.expovariate(1 / JITTER_LINES), len(arriving), line))
        if rng.random() < INVALID:
            arriving.append((at, len(arriving), _spoil(line, rng)))
    arriving.sort()
    return [line for _, _, line in arriving]


def _spoil(line: Line, rng: random.Random) -> Line:
    assert line.value is not None
    word, instead = rng.choice(_SPOILED)
    spoiled = line.value.replace(word, instead, 1)
    assert spoiled != line.value
    return Line(line.key, spoiled)


def _decoded(value: bytes | None) -> tuple[Event, ...]:
    return tuple(event for event in decode(value, NOW_US) if not isinstance(event, Invalid))


def _may_roll_up(event: Event) -> bool:
    return any(part is not None and part.may_roll_up for part in (event.start, event.end))
