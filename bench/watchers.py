"""What watching costs: plain questions' p99 and the api's memory with and without a thousand watchers, beside a worker.

    python -m bench.watchers [watchers of one panel] [panels watched once]     # default: 1,000 and 50

A worker folds 5,000 events a second meanwhile. Watchers are connections of a process of their own that read what comes
and look at none of it.
"""

import json
import multiprocessing
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from urllib.parse import urlencode

from bench.asking import Asker, dashboard_metrics, stats_body
from bench.feeding import Feeding, live_messages
from bench.folding import start_sharing
from bench.measuring import HEADING, Line, Measured, compared, percentile
from bench.stage import Stage, resident_bytes
from tests.pipeline.program import Program

OF_ONE_PANEL, PANELS = 1_000, 50
EVENTS_PER_S = 5_000
PARTITIONS = 2
PROJECT = "acme/project-0"
WARM_UP_S, ROUND_S, ROUNDS = 5.0, 10.0, 3
# All watchers are connected, and have their first answer.
SETTLE_S = 5.0
ASK_EVERY_S = 0.01
READ_BYTES_MAX = 1 << 16


def main(arguments: Sequence[str]) -> None:
    """Print the lines."""
    of_one_panel, panels = (int(arguments[0]), int(arguments[1])) if arguments else (OF_ONE_PANEL, PANELS)
    feeding_s = WARM_UP_S + ROUNDS * (2 * ROUND_S + 2 * SETTLE_S) + SETTLE_S
    messages = live_messages(datetime.now(UTC), EVENTS_PER_S, feeding_s)
    with Stage() as stage:
        topic = stage.new_topic(PARTITIONS)
        start_sharing(stage, topic, PARTITIONS, 1)
        api, address = stage.api(topic)
        with Feeding(stage.bootstrap_servers, topic, iter(messages), EVENTS_PER_S):
            time.sleep(WARM_UP_S)
            lines = list(_lines(api, address, of_one_panel, panels))
    sys.stdout.write(f"{HEADING}\n")
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _lines(api: Program, address: str, of_one_panel: int, panels: int) -> Iterator[Line]:
    alone, beside, before, during = [], [], [], []
    for _ in range(ROUNDS):
        before.append(_resident_mb(api))
        alone.append(_plain_p99_ms(address))
        with _watching(address, of_one_panel, panels) as seen:
            beside.append(_plain_p99_ms(address))
            during.append(_resident_mb(api))
        if seen[0] < of_one_panel + panels:
            raise RuntimeError(f"{seen[0]} of {of_one_panel + panels} watchers got an answer")
    watched = f"{of_one_panel:,} + {panels} watchers"
    yield compared(f"plain question p99, {watched} / none", "ms", beside, alone)
    yield compared(f"api's memory, {watched} / none", "MB", during, before)
    extra_kb = (percentile(during, 50) - before[0]) * 1_000 / (of_one_panel + panels)
    yield Line("api's memory a watcher", "KB", Measured(extra_kb, 0.0))


def _resident_mb(api: Program) -> float:
    assert api.pid is not None
    return resident_bytes(api.pid) / 1e6


def _plain_p99_ms(address: str) -> float:
    """The p99 of a client that asks for the last hour every ten milliseconds."""
    asker, taken, end_s = Asker(address), [], time.monotonic() + ROUND_S
    while time.monotonic() < end_s:
        body = stats_body(PROJECT, datetime.now(UTC), timedelta(hours=1), **dashboard_metrics([95]))
        taken.append(asker.time_ms("/calls/stats", body))
        time.sleep(ASK_EVERY_S)
    asker.close()
    return percentile(taken, 99)


@contextmanager
def _watching(address: str, of_one_panel: int, panels: int) -> Iterator[list[int]]:
    """Watchers that are there until this is left; then the list has how many of them got an answer."""
    context = multiprocessing.get_context("spawn")
    stopped, counted = context.Event(), context.Queue()
    process = context.Process(target=_watch, args=(address, of_one_panel, panels, stopped, counted))
    process.start()
    seen: list[int] = []
    try:
        time.sleep(SETTLE_S)
        yield seen
        stopped.set()
        seen.append(counted.get(timeout=60))
    finally:
        process.kill()
        process.join()
    time.sleep(SETTLE_S)


def _watch(address: str, of_one_panel: int, panels: int, stopped: Event, counted: "multiprocessing.Queue[int]") -> None:
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
