"""What watching costs: plain questions' p99 and the api's memory with and without a thousand watchers, beside a worker.

    python -m bench.watchers [watchers of one panel] [panels watched once]     # default: 1,000 and 50

A worker folds 5,000 events a second meanwhile. Watchers are connections of a process of their own that read what comes
and look at none of it. `/health` waits for nothing but the api's event loop and for a processor: where it takes long,
it is not the questions that do. How much of a processor each process had says what was left for it.
"""

import json
import multiprocessing
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from multiprocessing.synchronize import Event
from typing import NamedTuple
from urllib.parse import urlencode

from bench.asking import Asker, dashboard_metrics, stats_body
from bench.feeding import Feeding, live_messages
from bench.folding import start_sharing
from bench.measuring import HEADING, Line, Measured, compared, percentile
from bench.stage import Stage, cpu_s, resident_bytes
from tests.pipeline.program import Program

OF_ONE_PANEL, PANELS = 1_000, 50
EVENTS_PER_S = 5_000
PARTITIONS = 2
PROJECT = "acme/project-0"
WARM_UP_S, ROUND_S, ROUNDS = 5.0, 10.0, 3
# Messages are made and servers started within this, so that events are fed at the time that they are of.
PREPARED_WITHIN_S = 60.0
# Until all watchers are connected and have their first answer, on a machine that is busy with other things.
SETTLED_WITHIN_S = 60.0
# Until connections that were closed are gone.
SETTLE_S = 5.0
ASK_EVERY_S = 0.01
READ_BYTES_MAX = 1 << 16


def main(arguments: Sequence[str]) -> None:
    """Print the lines."""
    of_one_panel, panels = (int(arguments[0]), int(arguments[1])) if arguments else (OF_ONE_PANEL, PANELS)
    feeding_s = WARM_UP_S + ROUNDS * (2 * ROUND_S + 2 * SETTLE_S) + SETTLE_S
    begin = datetime.now(UTC) + timedelta(seconds=PREPARED_WITHIN_S)
    messages = live_messages(begin, EVENTS_PER_S, feeding_s)
    with Stage() as stage:
        topic = stage.new_topic(PARTITIONS)
        [worker] = start_sharing(stage, topic, PARTITIONS, 1)
        api, address = stage.api(topic)
        assert stage.redis_server.pid is not None
        pids = {"api": _pid(api), "worker": _pid(worker), "Redis": stage.redis_server.pid}
        time.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds()))
        with Feeding(stage.bootstrap_servers, topic, iter(messages), EVENTS_PER_S):
            time.sleep(WARM_UP_S)
            lines = list(_lines(pids, address, of_one_panel, panels))
    sys.stdout.write(f"{HEADING}\n")
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _lines(pids: Mapping[str, int], address: str, of_one_panel: int, panels: int) -> Iterator[Line]:
    alone: list[_Round] = []
    beside: list[_Round] = []
    before, during = [], []
    for _ in range(ROUNDS):
        before.append(resident_bytes(pids["api"]) / 1e6)
        alone.append(_round(pids, address))
        with _watching(address, of_one_panel, panels) as seen:
            beside.append(_round(pids, address))
            during.append(resident_bytes(pids["api"]) / 1e6)
        if seen[0] < of_one_panel + panels:
            raise RuntimeError(f"{seen[0]} of {of_one_panel + panels} watchers got an answer")
    watched = f"{of_one_panel:,} + {panels} watchers"
    for name, at in (("plain question p50", 50), ("plain question p99", 99)):
        ours, other = ([percentile(one.plain_ms, at) for one in rounds] for rounds in (beside, alone))
        yield compared(f"{name}, {watched} / none", "ms", ours, other)
    ours, other = ([percentile(one.health_ms, 99) for one in rounds] for rounds in (beside, alone))
    yield compared(f"/health p99, {watched} / none", "ms", ours, other)
    for name in pids:
        ours, other = ([one.processor_percent[name] for one in rounds] for rounds in (beside, alone))
        yield compared(f"processor time of the {name}, {watched} / none", "%", ours, other)
    yield compared(f"api's memory, {watched} / none", "MB", during, before)
    extra_kb = (percentile(during, 50) - before[0]) * 1_000 / (of_one_panel + panels)
    yield Line("api's memory a watcher", "KB", Measured(extra_kb, 0.0))


class _Round(NamedTuple):
    """How long questions and `/health` took, and the processor time of each process, in percent of one processor."""

    plain_ms: list[float]
    health_ms: list[float]
    processor_percent: dict[str, float]


def _pid(program: Program) -> int:
    assert program.pid is not None
    return program.pid


def _round(pids: Mapping[str, int], address: str) -> _Round:
    """Measure a client that asks for the last hour, and for `/health`, every ten milliseconds."""
    asker, health, plain_ms, health_ms = Asker(address), HTTPConnection(address), [], []
    begun_s, used_s = time.monotonic(), {name: cpu_s(pid) for name, pid in pids.items()}
    while time.monotonic() < begun_s + ROUND_S:
        body = stats_body(PROJECT, datetime.now(UTC), timedelta(hours=1), **dashboard_metrics([95]))
        plain_ms.append(asker.time_ms("/calls/stats", body))
        asked_s = time.monotonic()
        health.request("GET", "/health")
        health.getresponse().read()
        health_ms.append((time.monotonic() - asked_s) * 1_000)
        time.sleep(ASK_EVERY_S)
    took_s = time.monotonic() - begun_s
    asker.close()
    health.close()
    return _Round(plain_ms, health_ms, {name: (cpu_s(pid) - used_s[name]) / took_s * 100 for name, pid in pids.items()})


@contextmanager
def _watching(address: str, of_one_panel: int, panels: int) -> Iterator[list[int]]:
    """Watchers that are there until this is left; then the list has how many of them got an answer."""
    context = multiprocessing.get_context("spawn")
    settled, stopped, counted = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_watch, args=(address, of_one_panel, panels, settled, stopped, counted))
    process.start()
    seen: list[int] = []
    try:
        settled.wait(SETTLED_WITHIN_S)
        yield seen
        stopped.set()
        seen.append(counted.get(timeout=60))
    finally:
        process.kill()
        process.join()
    time.sleep(SETTLE_S)


def _watch(
    address: str, of_one_panel: int, panels: int, settled: Event, stopped: Event, counted: "multiprocessing.Queue[int]"
) -> None:
    """Connect all watchers and read until told to stop; then say how many got an answer."""
    host, _, port = address.partition(":")
    selector, answered = selectors.DefaultSelector(), set()
    for number in range(of_one_panel + panels):
        panel = max(0, number - of_one_panel + 1)
        connection = socket.create_connection((host, int(port)))
        connection.sendall(_request(address, panel))
        selector.register(connection, selectors.EVENT_READ)
    while not stopped.is_set():
        for key, _events in selector.select(timeout=0.1):
            assert isinstance(key.fileobj, socket.socket)
            received = key.fileobj.recv(READ_BYTES_MAX)
            if b"event: answer" in received:
                answered.add(key.fd)
                if len(answered) == of_one_panel + panels:
                    settled.set()
            if not received:
                selector.unregister(key.fileobj)
    counted.put(len(answered))


def _request(address: str, panel: int) -> bytes:
    """The request of a watcher; panels ask for another number of hours each."""
    question = {"project_id": PROJECT, "start": f"-{panel + 1}h", **dashboard_metrics([95])}
    query = urlencode({"path": "/calls/stats", "question": json.dumps(question)})
    return f"GET /calls/stream?{query} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()


if __name__ == "__main__":
    main(sys.argv[1:])
