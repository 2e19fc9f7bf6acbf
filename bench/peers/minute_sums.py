"""The job that peers do: tokens by minute and model, from the ends of calls, added up in Redis.

Simpler than ours on purpose: starts and ends are not joined (so the minute is that of the end), duplicates not told
apart, no percentiles, costs or single calls are kept, and a crash counts twice.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import redis

Sums = Counter[tuple[str, str]]
"""By key of Redis and field."""


class Used(NamedTuple):
    """Tokens of one call with one model; `key` is of the minute and model."""

    key: str
    prompt: int
    completion: int


def used_in(message: dict[str, Any]) -> Iterator[Used]:
    """Returns what a decoded message says was used; nothing where it is the start of a call."""
    end = message["req"].get("end")
    if end is None:
        return
    for model, used in end["summary"].get("usage", {}).items():
        key = f"{end['project_id']}:{end['ended_at'][:16]}:{model}"
        prompt = used.get("prompt_tokens", 0) + used.get("input_tokens", 0)
        completion = used.get("completion_tokens", 0) + used.get("output_tokens", 0)
        yield Used(key, prompt, completion)


def add(used: Used, sums: Sums) -> None:
    """Count it."""
    key, prompt, completion = used
    sums[key, "calls"] += 1
    sums[key, "input_tokens"] += prompt
    sums[key, "output_tokens"] += completion
    sums[key, "total_tokens"] += prompt + completion


def write(client: redis.Redis, sums: Sums) -> None:
    """All sums of a batch in one pipeline."""
    pipeline = client.pipeline(transaction=False)
    for (key, field), number in sums.items():
        pipeline.hincrby(key, field, number)
    pipeline.execute()
