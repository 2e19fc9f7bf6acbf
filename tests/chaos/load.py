"""Constant load: a thread that produces line after line at a rate that can be changed on the way."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.pipeline.feed import Line

TICK_S = 0.01
DELIVERY_TIMEOUT_S = 300.0

# Which partition gets a line; None: the client's choice, by the key.
Partitioner = Callable[[Line], int | None]
# By partition and offset: when the broker had told that it has the message, microseconds since the epoch.
Delivered = dict[tuple[int, int], int]


class Load(threading.Thread):
    """Produces the lines in their order, and notes in `delivered` when each could be read.

    `failures`: what the broker did not take; must stay empty.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        lines: Sequence[Line],
        delivered: Delivered,
        partitioner: Partitioner = lambda _: None,
    ) -> None:
        super().__init__(name="load", daemon=True)
        self.sent = 0
        self.failures: list[str] = []
        self._topic = topic
        self._lines = lines
        self._delivered_us = delivered
        self._partitioner = partitioner
        self._duration_s, self._told_s = 0.0, 0.0
        self._stopped = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "message.timeout.ms": int(DELIVERY_TIMEOUT_S * 1_000),
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 500,
                "log_level": 2,
            },
            # A broker that is killed on purpose is no news.
            logger=_silent(),
        )

    @property
    def left(self) -> int:
        """Lines that are not sent yet."""
        return len(self._lines) - self.sent

    def last_for(self, duration_s: float) -> None:
        """Slow down such that a third is still left after so long, a tenth after four times that (0: be fast)."""
        self._duration_s, self._told_s = duration_s, time.monotonic()

    def finish(self) -> None:
        """Send what is left at once, and return when the broker has all of it."""
        self.last_for(0)
        self.join(DELIVERY_TIMEOUT_S)
        assert not self.is_alive(), "the load could not be produced"
        assert not self.failures, self.failures[0]
        assert not self.left, "the load has ended by itself"

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()
        if self.ident is not None:
            self.join(DELIVERY_TIMEOUT_S)

    def run(self) -> None:
        """Sends, each tick, what the time since the last one is worth."""
        credit, before_s = 0.0, time.monotonic()
        while self.left and not self._stopped.is_set():
            now_s = time.monotonic()
            # A share of what is left for each moment, a smaller one where all takes longer than was thought, so that
            # the load is never over before what it is there for.
            pace_s = self._duration_s and max(self._duration_s, now_s - self._told_s)
            credit += self.left * min((now_s - before_s) / pace_s if pace_s else 1, 1)
            before_s = now_s
            for line in self._lines[self.sent : self.sent + int(credit)]:
                self._send(line)
            credit %= 1
            self._producer.poll(0)
            self._stopped.wait(TICK_S)
        if not self._stopped.is_set() and self._producer.flush(DELIVERY_TIMEOUT_S):
            self.failures.append("messages are left that the broker has not taken")

    def _send(self, line: Line) -> None:
        partition = self._partitioner(line)
        while not self._stopped.is_set():
            try:
                self._producer.produce(
                    self._topic, line.value, line.key, -1 if partition is None else partition, self._delivered
                )
                self.sent += 1
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as refused:
                # Partitions that have just been added are known to the client a moment later.
                if refused.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failures.append(error.str())
            return
        partition, offset = message.partition(), message.offset()
        if partition is not None and offset is not None:
            self._delivered_us[partition, offset] = time.time_ns() // 1_000


def _silent() -> logging.Logger:
    logger = logging.getLogger("chaos.load")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger
