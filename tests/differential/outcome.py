"""What an engine makes of messages: after each step all that Redis holds, byte for byte, and what became of it."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from confluent_kafka import Message as KafkaMessage

from aggregator.time_units import DAY_US
from aggregator.writing.limits import ShardLimits
from ingest.engine import Engine
from ingest.fold_step import Folding, LargeMessages, fold_step
from ingest.kafka.message import DeadLetter
from tests.differential.messages import READ_AT_US
from tests.support.folding import open_shard


class Outcome(NamedTuple):
    """One step: what it took in, its dead letters, and all keys with what they hold and when they expire."""

    folded: tuple[int, ...]
    letters: list[DeadLetter]
    keys: dict[bytes, tuple[Any, int]]


def outcomes(
    client: Any, engine: Engine, steps: Sequence[Sequence[KafkaMessage]], limits: ShardLimits
) -> list[Outcome]:
    """Return what comes of the steps in an empty Redis, by a writer that begins anew after every fifth."""
    client.flushall()
    letters: list[DeadLetter] = []
    large = LargeMessages()
    folding = Folding(30 * DAY_US, lambda: READ_AT_US, letters.extend, engine=engine)
    found = []
    with _the_same_draws():
        for number, step in enumerate(steps):
            if number % 5 == 0:
                shard = open_shard(client, limits)
            left = list(step)
            while left:
                folded = fold_step(shard, left, folding, large)
                shard.finish()
                found.append(Outcome(folded, list(letters), all_keys(client)))
                letters.clear()
                left = left[folded.messages :]
    return found


@contextmanager
def _the_same_draws() -> Iterator[None]:
    """Draw what is random by itself, as versions of slots, the same each time."""
    rng = Random(0)
    with (
        patch.object(secrets, "token_bytes", rng.randbytes),
        patch.object(secrets, "token_hex", lambda size: rng.randbytes(size).hex()),
    ):
        yield


def all_keys(client: Any) -> dict[bytes, tuple[Any, int]]:
    """All that Redis holds, and when it expires (Unix s; -1: never)."""
    read = {
        b"hash": client.hgetall,
        b"string": client.get,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    # Registered projects expire by the clock of Redis.
    return {
        key: (read[client.type(key)](key), 0 if b":project:" in key else client.expiretime(key))
        for key in client.scan_iter()
    }
