"""What the soak sends, and when: everything once, much of it late, nothing before it happened."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from aggregator.time_units import DAY_US, HOUR_US
from bench import soak
from bench.generator import GeneratorSettings, generate
from bench.month import events_of

END = datetime(2026, 5, 30, tzinfo=UTC)


def test_everything_comes_once_and_some_of_it_late() -> None:
    """Hours follow each other to the end; of a hundred events one is days behind its hour."""
    settings = GeneratorSettings(2_000, END - timedelta(days=soak.DAYS), soak.DAYS, message_bytes=0)
    hours = list(soak._by_hour(events_of(generate(settings), END), settings, END))
    first_us = round(settings.start.timestamp() * 1e6)
    assert [at_us for at_us, _ in hours] == [first_us + (1 + hour) * HOUR_US for hour in range(soak.DAYS * 24)]
    sent = [event for _, batch in hours for event in batch]
    assert len(sent) == len({(event.call_id, event.start is None) for event in sent}) == 2 * settings.calls
    behind_us = [at_us - event.at_us for at_us, batch in hours[:-1] for event in batch]
    assert min(behind_us) > 0
    late = [one for one in behind_us if one > 2 * HOUR_US]
    assert 0.003 < len(late) / len(behind_us) < 0.02
    assert max(late) > 5 * DAY_US


def test_what_is_past_its_expiry_is_dropped(redis_url: str) -> None:
    """Drops by the simulated clock, and nothing else."""
    client: Any = redis.Redis.from_url(redis_url)
    now_s = round(time.time()) + 1_000
    for key, after_s in (("past", -1), ("now", 0), ("kept", 1)):
        client.set(key, "x", exat=now_s + after_s)
    client.set("for ever", "x")
    assert soak.expire(client, now_s) == 2
    assert sorted(client.keys()) == [b"for ever", b"kept"]
