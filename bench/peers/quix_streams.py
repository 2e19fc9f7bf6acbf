"""Quix Streams: a dataframe over the topic, added up in a batching sink, the fastest of its ways to write to Redis.

Arguments: brokers, topic, messages, Redis URL. Prints the seconds from the first message to the last.
"""

import sys
import time
from collections import Counter
from typing import Any

import redis
from quixstreams import Application  # type: ignore[import-not-found,unused-ignore]
from quixstreams.sinks import BatchingSink, SinkBatch  # type: ignore[import-not-found,unused-ignore]

from bench.peers.minute_sums import Sums, add, used_in, write


class RedisSums(BatchingSink):  # type: ignore[misc,unused-ignore]
    """Adds a batch up and writes the sums."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.begun_s = self.written_s = 0.0
        self._client = redis.Redis.from_url(redis_url)

    def add(self, *args: Any, **named: Any) -> None:
        self.begun_s = self.begun_s or time.perf_counter()
        super().add(*args, **named)

    def write(self, batch: SinkBatch) -> None:
        sums: Sums = Counter()
        for message in batch:
            for used in used_in(message.value):
                add(used, sums)
        write(self._client, sums)
        self.written_s = time.perf_counter()


def main(brokers: str, topic: str, messages: int, redis_url: str) -> float:
    """Seconds for all messages."""
    app = Application(
        broker_address=brokers, consumer_group=f"quix-{time.time_ns()}", auto_offset_reset="earliest", loglevel="ERROR"
    )
    sink = RedisSums(redis_url)
    # No filter before the sink: `count` counts what comes out.
    app.dataframe(app.topic(topic, value_deserializer="json")).sink(sink)
    app.run(count=messages)
    return sink.written_s - sink.begun_s


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
