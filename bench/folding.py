"""How fast callmeter's workers fold: one of them a topic that is already full, or several a topic that they share."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.stage import Ends, Stage, cpu_s, pause
from tests.pipeline.program import Program

# What the last partitions still hold is folded by fewer workers, and says nothing about all of them.
TAIL = 0.15
BALANCE_TIMEOUT_S = 60.0


class Folded(NamedTuple):
    """Events per second of all workers together, and processor time per million events, theirs and that of Redis."""

    events_per_s: float
    cpu_s_per_million: float
    redis_cpu_s_per_million: float


class _Moment(NamedTuple):
    """How many events were folded when, and with how much processor time."""

    events: int
    at_s: float
    cpu_s: float
    redis_cpu_s: float


def fold(stage: Stage, topic: str, ends: Ends) -> Folded:
    """Let a new worker fold the topic from its beginning, measured from its first batch. Empties Redis."""
    worker = stage.worker(topic)
    worker.start_until_logged("worker started")
    begun = _moment(stage, topic, ends, [worker], 1)
    ended = _moment(stage, topic, ends, [worker], sum(ends.values()))
    stage.forget(topic, worker)
    return _between(begun, ended)


def fold_shared(stage: Stage, lines: Sequence[bytes], partitions: int, workers: int) -> Folded:
    """Let workers share a new topic evenly, then produce to it, and measure from when all is there. Empties Redis."""
    topic = stage.new_topic(partitions)
    programs = start_sharing(stage, topic, partitions, workers)
    ends = stage.fill(topic, lines, len(lines), f"producing for {workers} workers")
    begun = _moment(stage, topic, ends, programs, 1)
    left = len(lines) - begun.events
    ended = _moment(stage, topic, ends, programs, begun.events + max(1, int(left * (1 - TAIL))))
    for program in programs:
        stage.forget(topic, program)
    return _between(begun, ended)


def start_sharing(stage: Stage, topic: str, partitions: int, workers: int) -> list[Program]:
    """Starts so many workers of a topic, each of which has as many of its partitions."""
    programs = [stage.worker(topic) for _ in range(workers)]
    for program in programs:
        program.start_until_logged("worker started")
    share = partitions // workers
    _wait(programs, lambda: all(_partitions(program) == share for program in programs))
    return programs


def _partitions(program: Program) -> int:
    return len(program.logged("partition assigned")) - len(program.logged("partition revoked"))


def _moment(stage: Stage, topic: str, ends: Ends, programs: list[Program], events_min: int) -> _Moment:
    """Returns the moment at which so many events are folded."""
    while (events := sum(stage.next_offsets(topic, ends).values())) < events_min:
        _check(programs)
    of_workers = sum(cpu_s(program.pid) for program in programs if program.pid)
    return _Moment(events, time.perf_counter(), of_workers, cpu_s(stage.redis_server.pid or 0))


def _between(begun: _Moment, ended: _Moment) -> Folded:
    events = ended.events - begun.events
    if not events:
        raise RuntimeError("the first batch held all events; measure more of them")
    return Folded(
        events / (ended.at_s - begun.at_s),
        (ended.cpu_s - begun.cpu_s) / events * 1e6,
        (ended.redis_cpu_s - begun.redis_cpu_s) / events * 1e6,
    )


def _wait(programs: list[Program], condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + BALANCE_TIMEOUT_S
    while not condition():
        _check(programs)
        if time.monotonic() > deadline_s:
            raise TimeoutError("the workers did not share the partitions evenly")


def _check(programs: list[Program]) -> None:
    """Raises ChildFailed when one has ended."""
    for program in programs:
        program.wait_until(lambda: True, "it runs")
    pause()
