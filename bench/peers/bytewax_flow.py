"""Bytewax: a dataflow of one worker that decodes and adds up whole batches, and writes the sums.

Arguments: brokers, topic, messages, Redis URL. Prints the seconds from the first messages to the last.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found,unused-ignore]
import orjson  # type: ignore[import-not-found,unused-ignore]
import redis
from bytewax.connectors.kafka import KafkaSource  # type: ignore[import-not-found,unused-ignore]
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found,unused-ignore]
from bytewax.outputs import DynamicSink, StatelessSinkPartition  # type: ignore[import-not-found,unused-ignore]
from bytewax.testing import run_main  # type: ignore[import-not-found,unused-ignore]

from bench.peers.minute_sums import Sums, add, used_in, write

BATCH = 5_000


class Progress:
    """The times when the first messages came and the last sums were written, and how many messages have come."""

    begun_s = 0.0
    written_s = 0.0
    messages = 0


class RedisSums(DynamicSink):  # type: ignore[misc,unused-ignore]
    """Writes sums."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "RedisSumsPartition":
        return RedisSumsPartition(redis.Redis.from_url(self._redis_url))


class RedisSumsPartition(StatelessSinkPartition):  # type: ignore[misc,unused-ignore]
    """Writes the sums of one worker."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def write_batch(self, items: list[Sums]) -> None:
        for sums in items:
            write(self._client, sums)
        Progress.written_s = time.perf_counter()


def _add_up(messages: Iterable[Any]) -> list[Sums]:
    Progress.begun_s = Progress.begun_s or time.perf_counter()
    sums: Sums = Counter()
    for message in messages:
        Progress.messages += 1
        for used in used_in(orjson.loads(message.value)):
            add(used, sums)
    return [sums]


def main(brokers: str, topic: str, messages: int, redis_url: str) -> float:
    """Seconds for all messages."""
    flow = Dataflow("sums")
    source = KafkaSource([brokers], [topic], tail=False, batch_size=BATCH)
    sums = op.flat_map_batch("add up", op.input("consume", flow, source), _add_up)
    op.output("write", sums, RedisSums(redis_url))
    run_main(flow)
    if Progress.messages != messages:
        raise RuntimeError(f"{Progress.messages} messages came of {messages}")
    return Progress.written_s - Progress.begun_s


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
