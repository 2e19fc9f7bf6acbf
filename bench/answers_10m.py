"""Answers at ten million calls in a month against those at one million, asked in turn: they must not take longer."""

from collections.abc import Iterator
from statistics import median

from bench.answers import REQUESTS, STATS, load, percentile_lines
from bench.asking import dashboard_questions, time_single
from bench.measuring import Line, compared, ratio_at_most
from bench.month import PROJECT, last_minute
from bench.scale import Scale
from bench.stage import Stage

LARGER_MAX = 1.2


def run(scale: Scale) -> Iterator[Line]:
    """Four lines for each question. Ten million calls take some 10 GB of memory and many minutes to load."""
    calls, end = scale.amount(1_000_000, 100_000), last_minute()
    questions = dashboard_questions(PROJECT, end)
    with Stage(broker=False) as one, Stage(broker=False) as ten:
        addresses = {}
        for name, stage, size in (("one", one, calls), ("ten", ten, 10 * calls)):
            load(stage, "month", size, end)
            addresses[name] = stage.api("month", NOW=end.isoformat())[1]
        taken: dict[str, dict[str, list[float]]] = {"one": {}, "ten": {}}
        each: dict[str, list[float]] = {}
        for _ in range(scale.rounds()):
            for name, address in addresses.items():
                for question, times in time_single(address, STATS, questions, 1, REQUESTS).items():
                    taken[name].setdefault(question, []).append(median(times))
                    if name == "ten":
                        each.setdefault(question, []).extend(times)
    for question in questions:
        figure = f"answer_ms.{question}.{10 * calls}"
        yield from percentile_lines(f"answers {10 * calls:,}: {question}", each[question], p50_figure=figure)
        title = f"answers: {question}, p50 of {10 * calls:,} / {calls:,} calls"
        yield compared(title, "ms", taken["ten"][question], taken["one"][question], ratio_at_most(LARGER_MAX))
