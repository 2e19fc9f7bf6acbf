"""Answers at ten million calls in a month against those at one million, asked in turn: they must not take longer."""

from collections.abc import Iterator
from datetime import datetime
from statistics import median

from bench.answers import REQUESTS, STATS, load, percentile_lines
from bench.asking import dashboard_questions, time_single
from bench.measuring import Line, compared, ratio_at_most
from bench.month import PROJECT, last_minute
from bench.scale import Scale
from bench.stage import Stage

LARGER_MAX = 1.2


def run(scale: Scale) -> Iterator[Line]:
    """The questions to both, as dashboards ask them, and to apis that keep no rows.

    Ten million calls take some 10 GB of memory and many minutes to load.
    """
    calls, end = scale.amount(1_000_000, 100_000), last_minute()
    with Stage(broker=False) as one, Stage(broker=False) as ten:
        for stage, size in ((one, calls), (ten, 10 * calls)):
            load(stage, "month", size, end)
        yield from _compared(one, ten, calls, end, scale.rounds())
        yield from _compared(one, ten, calls, end, scale.rounds(), API__KEPT_BYTES_MAX="0")


def _compared(one: Stage, ten: Stage, calls: int, end: datetime, rounds: int, **settings: str) -> Iterator[Line]:
    """Four lines for each question; the target is that of an api as it comes."""
    questions = dashboard_questions(PROJECT, end)
    addresses = {
        name: stage.api("month", NOW=end.isoformat(), **settings)[1] for name, stage in (("one", one), ("ten", ten))
    }
    taken: dict[str, dict[str, list[float]]] = {"one": {}, "ten": {}}
    each: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, address in addresses.items():
            for question, times in time_single(address, STATS, questions, 1, REQUESTS).items():
                taken[name].setdefault(question, []).append(median(times))
                if name == "ten":
                    each.setdefault(question, []).extend(times)
    kept, figure, target = (
        ("", "answer_ms", ratio_at_most(LARGER_MAX)) if not settings else (", nothing kept", "answer_first_ms", None)
    )
    for question in questions:
        title = f"answers {10 * calls:,}{kept}: {question}"
        yield from percentile_lines(title, each[question], p50_figure=f"{figure}.{question}.{10 * calls}")
        title = f"answers{kept}: {question}, p50 of {10 * calls:,} / {calls:,} calls"
        yield compared(title, "ms", taken["ten"][question], taken["one"][question], target)
