"""Answers of one api process and of two, to 32 clients that each ask for a day of their own; how long they wait.

    python -m bench.processes [calls]     # default: 20,000 calls over four weeks

On a machine that does other things too, only answers for each second of processor time say something.
"""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from bench.asking import dashboard_questions, time_single
from bench.crowd import time_crowd
from bench.fairness import CALLS, NAMESPACE, NOW, PROJECT, fill
from bench.measuring import HEADING, Line, compared, percentile, ratio_at_least, ratio_at_most
from bench.stage import Stage, cpu_s

QUESTION = "24 h at 5 min"
CLIENTS, FOR_S, ROUNDS = 32, 6.0, 3
APART = timedelta(minutes=5)
PATH = "/calls/stats"


class Told(NamedTuple):
    """Answers by the second, and by the second of processor time; p99 of the crowd and p50 of one client, in ms."""

    per_s: float
    per_cpu_s: float
    crowd_p99_ms: float
    single_p50_ms: float


def measure(stage: Stage, processes: int) -> Told:
    """One round with so many processes, which are then gone."""
    program, address = stage.api(NAMESPACE, API__WORKERS=str(processes))
    assert program.pid
    own_windows = [dashboard_questions(PROJECT, NOW - number * APART)[QUESTION] for number in range(CLIENTS)]
    single = time_single(address, PATH, {QUESTION: own_windows[0]}, 3, 50)[QUESTION]
    cpu_before_s, begun_s = _cpu_of_all_s(program.pid), time.perf_counter()
    taken_ms = time_crowd(address, PATH, own_windows, FOR_S)
    elapsed_s, used_s = time.perf_counter() - begun_s, _cpu_of_all_s(program.pid) - cpu_before_s
    program.stop()
    return Told(len(taken_ms) / elapsed_s, len(taken_ms) / used_s, percentile(taken_ms, 99), percentile(single, 50))


def _cpu_of_all_s(pid: int) -> float:
    """Processor time of a process and of those that it has started. Linux only."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_s(pid) + sum(cpu_s(int(child)) for child in children)


def lines(one: Sequence[Told], two: Sequence[Told]) -> list[Line]:
    """Two processes against one, and the crowd against a client by itself."""
    return [
        compared(
            "2 api processes / 1",
            "answers/s",
            [told.per_s for told in two],
            [told.per_s for told in one],
            ratio_at_least(1.7),
        ),
        compared(
            "2 api processes / 1, by processor time",
            "answers/CPU s",
            [told.per_cpu_s for told in two],
            [told.per_cpu_s for told in one],
        ),
        compared(
            f"{CLIENTS} clients' own windows: p99 / single p50, 2 processes",
            "ms",
            [told.crowd_p99_ms for told in two],
            [told.single_p50_ms for told in two],
            ratio_at_most(40),
        ),
        compared(
            f"{CLIENTS} clients' own windows: p99 / single p50, 1 process",
            "ms",
            [told.crowd_p99_ms for told in one],
            [told.single_p50_ms for told in one],
        ),
    ]


def main(arguments: Sequence[str]) -> None:
    """Print four lines."""
    one, two = [], []
    with Stage(broker=False) as stage:
        fill(stage.redis_server.url, int(arguments[0]) if arguments else CALLS)
        for _ in range(ROUNDS):
            one.append(measure(stage, 1))
            two.append(measure(stage, 2))
    sys.stdout.write(f"{HEADING}\n")
    for line in lines(one, two):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
