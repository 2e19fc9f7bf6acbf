"""One client asks cold months without pause: how long another then waits for its last hour, beside what it waits alone.

    python -m bench.fairness [calls]     # default: 20,000 calls over four weeks

Each month is asked with another percentile, so that nothing of it has been kept.
"""

import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import redis

from aggregator.layout.keys import ShardName
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.shard import Shard
from bench.asking import Asker, stats_body
from bench.measuring import HEADING, compared, percentile, ratio_at_most
from bench.stage import Stage
from ingest.decoding.single import decode_message

NAMESPACE = "bench-fairness"
PROJECT = "bench/fairness"
CALLS, BATCH = 20_000, 2_000
MODELS = 5
ALONE_S, BESIDE_S = 5.0, 15.0
ROUNDS = 3
TIMES_ALONE_MAX = 5.0
NOW = datetime.now(UTC).replace(microsecond=0)
MONTH = timedelta(days=28)


def fill(url: str, calls: int) -> None:
    """Calls of the last four weeks, evenly."""
    client = redis.Redis.from_url(url)
    shard = Shard(ShardStore(client, ShardName(NAMESPACE, "calls", 0)), PriceBook(None, PriceCatalogue()), _KEPT)
    now_us = int(NOW.timestamp()) * 1_000_000
    for first in range(0, calls, BATCH):
        events = []
        for number in range(first, min(calls, first + BATCH)):
            begun = NOW - MONTH + number * (MONTH / calls)
            call = {
                "project_id": PROJECT,
                "id": f"c{number}",
                "op_name": "op",
                "started_at": begun.isoformat(),
                "ended_at": (begun + timedelta(milliseconds=200 + number * 7919 % 5_000)).isoformat(),
                "summary": {"usage": {f"m{number % MODELS}": {"prompt_tokens": number * 31 % 4_000}}},
            }
            events += decode_message(msgspec.json.encode({"complete": call}), now_us).events
        shard.apply(events, (shard.next_offset or 0) + len(events), now_us, now_us, {})


_KEPT = Retention(40 * DAY_S, 40 * DAY_S, 90 * DAY_S, 400 * DAY_S)


def months(address: str, stopped: threading.Event) -> None:
    """Ask for cold months until told to stop."""
    asker, number = Asker(address), 0
    while not stopped.is_set():
        number += 1
        metrics = [
            {"metric": name, "percentiles": [50 + number % 4_000 / 100]} for name in ("input_tokens", "output_tokens")
        ]
        asker.ask("/calls/stats", stats_body(PROJECT, NOW, MONTH, granularity=3_600, usage_metrics=metrics))
    asker.close()


def last_hours(address: str, seconds: float) -> float:
    """The p99 of a client that asks for its last hour again and again, in milliseconds."""
    asker, end_s, taken = Asker(address), time.monotonic() + seconds, []
    body = stats_body(PROJECT, NOW, timedelta(hours=1), granularity=60, call_metrics=[{"metric": "call_count"}])
    while time.monotonic() < end_s:
        taken.append(asker.time_ms("/calls/stats", body))
        time.sleep(0.005)
    asker.close()
    return percentile(taken, 99)


def main(arguments: Sequence[str]) -> None:
    """Print one line."""
    with Stage(broker=False) as stage:
        fill(stage.redis_server.url, int(arguments[0]) if arguments else CALLS)
        _, address = stage.api(NAMESPACE)
        alone, beside = [], []
        for _ in range(ROUNDS):
            alone.append(last_hours(address, ALONE_S))
            stopped = threading.Event()
            other = threading.Thread(target=months, args=(address, stopped))
            other.start()
            beside.append(last_hours(address, BESIDE_S))
            stopped.set()
            other.join()
    sys.stdout.write(f"{HEADING}\n")
    name = "fairness: last hour p99 beside cold months / alone"
    sys.stdout.write(f"{compared(name, 'ms', beside, alone, ratio_at_most(TIMES_ALONE_MAX))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
