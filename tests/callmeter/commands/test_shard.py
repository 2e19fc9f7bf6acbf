"""`callmeter shard reset` against real servers: what it says, what it sets, and that workers follow it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from callmeter.commands.shard import Reset
from ingest.other_log import REFUSED
from tests.pipeline.feed import Feed
from tests.pipeline.golden import read_dataset
from tests.pipeline.operator import Said, operate
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer

DATASET = read_dataset("basics")
LINES = len(DATASET.lines)


@pytest.fixture
def pipeline(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline whose one partition holds a dataset; no worker runs yet."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, DATASET.settings, partitions=1) as pipeline:
        pipeline.create_topic()
        pipeline.produce(DATASET.lines)
        yield pipeline


def reset(pipeline: Pipeline, *arguments: str) -> Said:
    """Run the command for the only partition."""
    return operate(pipeline.settings, "shard", "reset", "--topic", pipeline.topic, "--partition", "0", *arguments)


@pytest.mark.parametrize(
    ("next_offset", "log", "target", "again", "skipped", "to_read"),
    [
        (10, (0, 20), 0, 10, 0, 20),  # to the beginning
        (10, (0, 20), 20, 0, 10, 0),  # to the end
        (10, (0, 20), 10, 0, 0, 10),  # to where it is
        (10, (0, 20), 9, 1, 0, 11),
        (10, (0, 20), 11, 0, 1, 9),
        (3, (5, 20), 5, 0, 0, 15),  # 3 and 4 are gone from the log, not skipped by us
        (3, (5, 20), 6, 0, 1, 14),
        (None, (5, 20), 7, 0, 2, 13),  # nothing was ever read
        (30, (0, 20), 0, 0, 0, 20),  # another log: none of it was read
        (30, (2, 20), 5, 0, 3, 15),
        (20, (0, 20), 0, 20, 0, 20),  # read to its end: the same log
    ],
)
def test_what_a_reset_means(
    next_offset: int | None, log: tuple[int, int], target: int, again: int, skipped: int, to_read: int
) -> None:
    """Messages folded again, skipped and to be read are those between the offsets, and of this log only."""
    plan = Reset("calls", 0, next_offset, *log, target)
    assert (plan.messages_again, plan.messages_skipped, plan.messages_to_read) == (again, skipped, to_read)


def test_dry_run_changes_nothing(pipeline: Pipeline) -> None:
    """The command says without --yes what would happen, and the shard goes on where it was."""
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    assert worker.terminate() == 0
    said = reset(pipeline, "--to-offset", "10")
    assert said.status == 0
    assert f"stored next offset {LINES}; log 0 to {LINES}." in said.output
    assert f"go on at offset 10: {LINES - 10} messages to read, {LINES - 10} of them folded again, 0 sk" in said.output
    assert "not counted twice" in said.output
    assert "Nothing was changed; --yes does it." in said.output
    assert pipeline.applied() == {0: LINES}


def test_an_idle_worker_follows(pipeline: Pipeline) -> None:
    """A live worker reads again from the new offset, though no message comes, and counts no call twice."""
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    told = reset(pipeline, "--to-offset", "10", "--yes", "--json").json()
    assert told["done"] is True
    assert (told["next_offset"], told["new_next_offset"], told["messages_again"]) == (LINES, 10, LINES - 10)

    def again() -> bool:
        return pipeline.counters()["messages"] == 2 * LINES - 10 and pipeline.applied() == {0: LINES}

    worker.wait_until(again, "the messages from offset 10 on are folded again")
    counters = pipeline.counters()
    assert (counters["calls"], counters["resets"]) == (DATASET.calls, 1)
    assert pipeline.start_api().mistakes(DATASET.cases) == {}


def test_to_the_end_skips(pipeline: Pipeline) -> None:
    """Messages before the new offset are not folded; nor is a shard needed for that."""
    told = reset(pipeline, "--to-end", "--yes", "--json").json()
    assert (told["next_offset"], told["new_next_offset"], told["messages_skipped"]) == (None, LINES, LINES)
    pipeline.start_worker()
    pipeline.produce([DATASET.lines[0]])
    pipeline.wait_until_applied()
    assert pipeline.counters()["messages"] == 1


def test_a_topic_that_has_grown_past_the_offset(pipeline: Pipeline) -> None:
    """Made anew and longer than before, it is told by its id: all of it would be skipped, not only what is beyond."""
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    assert worker.terminate() == 0
    same = reset(pipeline, "--to-end", "--json").json()
    assert (same["messages_skipped"], same["topic_id"]) == (0, same["folded_topic_id"])
    pipeline.delete_topic()
    pipeline.create_topic()
    pipeline.feed = Feed(pipeline.bootstrap_servers, pipeline.topic)
    pipeline.produce([*DATASET.lines, *DATASET.lines])
    said = reset(pipeline, "--to-end")
    assert f"0 of them folded again, {2 * LINES} skipped" in said.output
    assert "another log" in said.output
    assert "0 of them folded again, 0 skipped" in reset(pipeline, "--to-beginning").output


@pytest.mark.parametrize("restarted", [False, True])
def test_a_topic_made_again(pipeline: Pipeline, restarted: bool) -> None:
    """A worker refuses a log that ends before the stored offset and names the command that lets it go on."""
    half = LINES // 2
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    if restarted:
        assert worker.terminate() == 0
    pipeline.delete_topic()
    pipeline.create_topic()
    pipeline.feed = Feed(pipeline.bootstrap_servers, pipeline.topic)
    pipeline.produce(DATASET.lines[:half])
    if restarted:
        worker.start_until_logged("worker started")
    worker.wait_until_logged(REFUSED)
    command = worker.logged(REFUSED)[0]["command"].split()
    assert pipeline.applied() == {0: LINES}
    said = operate(pipeline.settings, *command[1:], "--yes")
    assert said.status == 0
    assert "another log" in said.output
    pipeline.wait_until_applied()
    counters = pipeline.counters()
    assert (counters["calls"], counters["messages"]) == (DATASET.calls, LINES + half)
    assert pipeline.start_api().mistakes(DATASET.cases) == {}


def test_offsets_lost_to_retention(pipeline: Pipeline) -> None:
    """Messages that the broker deleted before they were read are counted, and reading goes on after them."""
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    assert worker.terminate() == 0
    pipeline.produce(DATASET.lines[:7])
    place = TopicPartition(pipeline.topic, 0, LINES + 5)
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap_servers})
    admin.delete_records([place])[place].result(30)
    worker.start_until_logged("worker started")
    pipeline.wait_until_applied()
    counters = pipeline.counters()
    assert (counters["offsets_lost"], counters["messages"], counters["offsets_skipped"]) == (5, LINES + 2, 0)
    assert operate(pipeline.settings, "status", "--json").json()["offsets_lost"] == 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to-offset", str(LINES + 1)], f"holds offsets from 0 up to {LINES}, not {LINES + 1}"),
        ([], "Say where to go on"),
        (["--to-end", "--to-beginning"], "Say where to go on"),
        (["--to-end", "--topic", "nonsense"], "there is no partition 0 of a topic 'nonsense'"),
        (["--to-end", "--partition", "1"], "there is no partition 1 of a topic"),
    ],
)
def test_refused(pipeline: Pipeline, arguments: list[str], sentence: str) -> None:
    """An offset that cannot be meant is refused in a sentence, with a status that scripts see, and nothing is
    written."""
    said = reset(pipeline, *arguments, "--yes")
    assert said.status in (1, 2)
    assert sentence in said.errors
    assert pipeline.redis.dbsize() == 0


def test_servers_away(pipeline: Pipeline) -> None:
    """A broker or a Redis that does not answer is told in one sentence."""
    for name, sentence in (
        ("KAFKA__BOOTSTRAP_SERVERS", "no Kafka broker answers at 127.0.0.1:1"),
        ("REDIS__URL", "no Redis answers at redis://127.0.0.1:1"),
    ):
        address = "127.0.0.1:1" if name.startswith("KAFKA") else "redis://127.0.0.1:1"
        place = ("--topic", pipeline.topic, "--partition", "0", "--to-end")
        said = operate(pipeline.settings | {name: address}, "shard", "reset", *place)
        assert said.status == 1
        assert f"Error: {sentence}" in said.errors
