"""Events that keep coming while something else is measured: a thread that produces them at a rate."""

import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType

from bench.generator import GeneratorSettings, generate
from bench.stage import key_and_value
from ingest.kafka.producer import EventProducer

STEP_S = 0.01
LONG_ENOUGH_S = 3_600
# Hardly any trace of the generator takes longer.
TRACE_S_MAX = 60
_INSTANT = re.compile(rb'"(?:started|ended)_at":"([^"]*)"')


class Feeding:
    """A context manager that produces `events_per_s` of the messages (key and value) until it is left."""

    def __init__(
        self, bootstrap_servers: str, topic: str, messages: Iterator[tuple[bytes, bytes]], events_per_s: int
    ) -> None:
        self.events = 0
        self._topic = topic
        self._messages = messages
        self._rate = events_per_s
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._producer = EventProducer(bootstrap_servers, {"linger.ms": 5})
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Feeding":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raises what stopped the feeding, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        begun_s = time.perf_counter()
        try:
            while not self._stopping.wait(STEP_S):
                due = int((time.perf_counter() - begun_s) * self._rate)
                for key, value in islice(self._messages, due - self.events):
                    self._producer.produce(self._topic, key, value)
                self._producer.poll()
                self.events = due
            self._producer.flush()
        except Exception as failed:  # told to the thread that asks
            self._failure = failed


def recent_messages(
    end: datetime, back: timedelta, events_per_s: int, ops: int, users: int
) -> Iterator[tuple[bytes, bytes]]:
    """Messages for an hour of feeding, their event times in the time before `end`."""
    calls = events_per_s * LONG_ENOUGH_S // 2
    lines = generate(GeneratorSettings(calls, end - back, back / timedelta(days=1), seed=1, ops=ops, users=users))
    return map(key_and_value, lines)


def live_messages(now: datetime, events_per_s: int, for_s: float) -> list[tuple[bytes, bytes]]:
    """Messages for so many seconds of feeding, their event times those at which they are fed.

    All are made before the first is fed: making one takes longer than producing it, and no producer makes up its
    events on the machine that folds them. They are in the order of time, of traces too that began before: the generator
    tells a trace whole, and events that come before their time are what no producer sends.
    """
    calls = events_per_s * LONG_ENOUGH_S // 2
    start = now - timedelta(seconds=TRACE_S_MAX)
    lines = generate(GeneratorSettings(calls, start, LONG_ENOUGH_S / 86_400, seed=2, key="trace"))
    told = map(key_and_value, islice(lines, int(events_per_s * (for_s + TRACE_S_MAX))))
    begin = now.isoformat().encode()
    live = sorted((message for message in told if _told_at(message) >= begin), key=_told_at)
    return live[: int(events_per_s * for_s)]


def _told_at(message: tuple[bytes, bytes]) -> bytes:
    """The instant of a message's event, all of one width."""
    found = _INSTANT.search(message[1])
    assert found is not None
    return found[1]
