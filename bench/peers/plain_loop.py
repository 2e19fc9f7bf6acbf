"""A plain loop: consume, add up, a pipeline of HINCRBY per batch, and the `tdigest` package for percentiles of tokens.

Arguments: brokers, topic, messages, Redis URL. Prints the seconds from the first messages to the last.
"""

import json
import sys
import time
from collections import Counter
from typing import Any

import orjson  # type: ignore[import-not-found,unused-ignore]
import redis
import tdigest  # type: ignore[import-not-found,import-untyped,unused-ignore]
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.peers.minute_sums import Sums, add, used_in, write

BATCH = 5_000
WAIT_S = 10.0


def main(brokers: str, topic: str, messages: int, redis_url: str) -> float:
    """Seconds for all messages of the topic's only partition."""
    client = redis.Redis.from_url(redis_url)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "plain", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    digests: dict[str, Any] = {}
    begun_s, done = 0.0, 0
    while done < messages:
        batch = consumer.consume(min(BATCH, messages - done), WAIT_S)  # more would be waited for
        begun_s = begun_s or time.perf_counter()
        done += len(batch)
        _fold([message.value() or b"" for message in batch], digests, client)
    elapsed_s = time.perf_counter() - begun_s
    consumer.close()
    return elapsed_s


def _fold(values: list[bytes], digests: dict[str, Any], client: redis.Redis) -> None:
    sums: Sums = Counter()
    touched: set[str] = set()
    for value in values:
        for used in used_in(orjson.loads(value)):
            add(used, sums)
            digests.setdefault(used.key, tdigest.TDigest()).update(used.prompt + used.completion)
            touched.add(used.key)
    write(client, sums)
    pipeline = client.pipeline(transaction=False)
    for key in touched:
        pipeline.hset(key, "digest", json.dumps(digests[key].to_dict()))
    pipeline.execute()


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
