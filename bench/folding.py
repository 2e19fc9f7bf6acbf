"""How fast callmeter's workers fold a topic that is already full."""

import time
from typing import NamedTuple

from bench.stage import Ends, Stage, cpu_s, pause
from tests.pipeline.program import Program

# What the last partitions still hold is folded by fewer workers, and says nothing about all of them.
TAIL = 0.15


class Folded(NamedTuple):
    """Events per second of all workers together, and their processor time per million events."""

    events_per_s: float
    cpu_s_per_million: float


def fold(stage: Stage, topic: str, ends: Ends, workers: int = 1, **settings: str) -> Folded:
    """Let new workers fold the topic from its beginning, and measure from when all of them read. Empties Redis."""
    programs = [stage.worker(topic, **settings) for _ in range(workers)]
    for program in programs:
        program.start(lambda: True, 0)
    while not all(program.logged("partition assigned") for program in programs):
        _check(programs)
    total = sum(ends.values())
    begun = _state(stage, topic, ends, programs, at_least=1)
    ended = _state(stage, topic, ends, programs, at_least=total if workers == 1 else int(total * (1 - TAIL)))
    for program in programs:
        stage.forget(topic, program)
    events, elapsed_s, worked_s = (late - early for early, late in zip(begun, ended, strict=True))
    return Folded(events / elapsed_s, worked_s / events * 1e6)


def _state(stage: Stage, topic: str, ends: Ends, programs: list[Program], at_least: int) -> tuple[float, float, float]:
    """Events folded, time and processor time, as soon as that many are folded."""
    while (folded := sum(stage.next_offsets(topic, ends).values())) < at_least:
        _check(programs)
    return folded, time.perf_counter(), sum(cpu_s(program.pid) for program in programs if program.pid)


def _check(programs: list[Program]) -> None:
    for program in programs:
        program.wait_until(lambda: True, "it runs")
    pause()
