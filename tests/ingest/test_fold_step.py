"""A step counts the offsets it passes over, and takes only the broker's clock for one."""

from collections.abc import Iterable
from typing import Any

import pytest
import redis
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE
from confluent_kafka import Message as KafkaMessage

from aggregator.time_units import DAY_US, SECOND_US
from ingest.fold_step import Folding, LargeMessages, fold_step, message_times, span_projects
from ingest.kafka.log_ends import EndMark
from ingest.kafka.message import DeadLetter
from tests.support.folding import NOW_US, SHARD, open_shard

NONSENSE_MS = (1_795_170_000, 1, 3_786_912_000_000, NOW_US // 1_000 + 3_600_000)  # in seconds, 1970, 2090, in an hour


def message(offset: int, stamp: tuple[int, int] = (TIMESTAMP_CREATE_TIME, 5), started_us: int = NOW_US) -> KafkaMessage:
    """A complete call of no length, named after its offset."""
    at = f'"{started_us / 1e6}"'.strip('"')
    call = f'"project_id":"p","id":"{offset}","op_name":"o","started_at":{at},"ended_at":{at},"summary":{{}}'
    value = f'{{"complete":{{{call}}}}}'.encode()
    return KafkaMessage(SHARD.topic, SHARD.partition, offset, b"k", value, [], None, stamp)


def fold(url: str, messages: Iterable[KafkaMessage], mark: EndMark | None = None) -> tuple[dict[str, int], list[Any]]:
    """The shard's fields after these messages, step by step, and the dead letters."""
    letters: list[DeadLetter] = []
    client: Any = redis.Redis.from_url(url)
    shard, left, large = open_shard(client), list(messages), LargeMessages()
    folding = Folding(30 * DAY_US, lambda: NOW_US, letters.extend)
    while left:
        left = left[fold_step(shard, left, folding, large, mark).messages :]
        shard.finish()
    return {name.decode(): int(value) for name, value in client.hgetall(f"{SHARD.tag}:shard").items()}, letters


def test_a_gap_inside_the_first_batch_is_counted(redis_url: str) -> None:
    """A gap inside a new shard's first batch is counted; what lies before the first message is not known to have been
    skipped."""
    fields, _ = fold(redis_url, [message(7), message(8), message(11)])
    assert (fields["offsets_skipped"], fields["messages"]) == (2, 3)


def test_a_gap_counts_the_same_in_any_batches(redis_url: str) -> None:
    """Whether the messages around it are folded together or one by one."""
    for batches in ([3, 6], [3], [6]):
        redis.Redis.from_url(redis_url).flushall()
        for offset in batches:
            fields, _ = fold(redis_url, [message(offset)])
        assert fields.get("offsets_skipped", 0) == max(batches) - min(batches) - len(batches) + 1


@pytest.mark.parametrize("milliseconds", NONSENSE_MS)
def test_what_the_producer_says_of_time_decides_nothing(redis_url: str, milliseconds: int) -> None:
    """CreateTime in seconds loses no event, one of 2090 lets no nonsense in, and none says as of when."""
    stamp = (TIMESTAMP_CREATE_TIME, milliseconds)
    ahead = NOW_US + DAY_US + SECOND_US
    fields, letters = fold(redis_url, [message(0, stamp, NOW_US - 8 * DAY_US), message(1, stamp, ahead)])
    assert fields["calls"] == 1
    assert [letter.invalid.reason for letter in letters] == ["time_range"]
    assert "as_of_us" not in fields


def test_as_of_the_brokers_clock(redis_url: str) -> None:
    """LogAppendTime says as of when, never ahead of our clock, and what has been said is never taken back."""
    for milliseconds, as_of_us in ((-5_000, NOW_US - 5_000_000), (3_600_000, NOW_US), (-9_000, NOW_US)):
        stamp = (TIMESTAMP_LOG_APPEND_TIME, NOW_US // 1_000 + milliseconds)
        fields, _ = fold(redis_url, [message(abs(milliseconds), stamp)])
        assert fields["as_of_us"] == as_of_us


def test_as_of_a_mark_once_it_is_reached(redis_url: str) -> None:
    """The end of the log at an instant tells the as-of time where messages tell no broker's time, once all before it is
    applied."""
    mark = EndMark(NOW_US - 7, 12)
    assert "as_of_us" not in fold(redis_url, [message(10)], mark)[0]
    assert fold(redis_url, [message(11)], mark)[0]["as_of_us"] == NOW_US - 7


def test_no_time_at_all(redis_url: str) -> None:
    """A message without a time is as of the clock of who reads."""
    untimed = (TIMESTAMP_NOT_AVAILABLE, 0)
    assert message_times([message(0, untimed)], NOW_US) == ([NOW_US], None)


@pytest.mark.parametrize(
    ("headers", "default", "project_id"),
    [
        ([("project_id", b"from/header")], "from/setting", "from/header"),
        ([("other", b"x"), ("project_id", b"")], "from/setting", "from/setting"),
        (None, "", ""),
    ],
)
def test_whose_spans_are(headers: Any, default: str, project_id: str) -> None:
    """Spans that name no project belong to the one in their message's header, else to the one that is set."""
    spans = KafkaMessage(SHARD.topic, SHARD.partition, 0, None, b"", headers)
    named, fallback = span_projects(spans, default)
    assert (named or fallback) == project_id
