"""Topics that get more partitions, are made anew, or lose messages before they are read."""

import zlib

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from ingest.other_log import REFUSED
from tests.chaos.history import Appended
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.feed import Line
from tests.pipeline.operator import operate
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer

ADMIN_TIMEOUT_S = 30.0
# What is first in a topic that was made anew, less than was in the old one: messages of the old one, and others.
AGAIN, NEW = 30, 40


class StickyPartitions:
    """Partitions by key, over as many as there were when the key came first: a trace stays where it began."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._chosen: dict[str, int] = {}

    def __call__(self, line: Line) -> int:
        return self._chosen.setdefault(line.key, zlib.crc32(line.key.encode()) % self.partitions)


def more_partitions(stage: Stage) -> str:
    """Partitions are added twice while events flow; the workers find them and share them."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    partitioner = StickyPartitions(4)
    with Trial(stage, server.url, partitions=12) as trial:
        trial.make_topic_anew(4)
        admin = _admin(trial)
        trial.begin(60, workers=2, partitioner=partitioner)
        for number in trial.steps(2, 8):
            trial.wait_for_progress(300)
            more = (6, 12)[number]
            admin.create_partitions([NewPartitions(trial.topic, more)])[trial.topic].result(ADMIN_TIMEOUT_S)
            partitioner.partitions = more
            _wait_until_all_apply(trial, more)
        trial.settle()
        trial.check()
    server.stop()
    return "4 -> 6 -> 12 partitions"


def made_anew(stage: Stage) -> str:
    """A topic is deleted and made again: its shards stay as they are until they are reset as the worker says."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    partitions = stage.times(12, 3)
    lines, half = stage.workload.lines, len(stage.workload.lines) // 2
    with Trial(stage, server.url, partitions=partitions) as trial:
        workers = trial.begin(stage.times(20, 4), workers=2, lines=lines[:half])
        trial.settle()
        before, applied = trial.read_log(), trial.applied()
        trial.make_topic_anew(partitions)
        trial.produce(lines[half - AGAIN : half + NEW])
        trial.wait(lambda: len(_commands(workers)) == partitions, "the workers refuse all partitions")
        trial.load.join(2)
        if not all(worker.running for worker in workers):
            raise ChaosFailed("a worker ended")
        trial.check_now(before)
        for command in _commands(workers):
            _operate(trial, command)
        if trial.applied() != applied:
            raise ChaosFailed(f"{trial.applied()} are applied, not {applied}: a dry run has changed something")
        with trial.redis_forgets():  # offsets are those of another log from here on
            for command in _commands(workers):
                _operate(trial, command, "--yes")
            trial.produce(lines[half + NEW :])
            trial.settle()
            trial.stop_asking()
        after = trial.read_log()
        trial.check({partition: before[partition] + after[partition] for partition in before})
    server.stop()
    return f"deleted and made anew: {partitions} partitions refused, and reset as the worker says"


def _commands(workers: list[Program]) -> set[str]:
    """Returns the commands that the workers have said are needed to go on."""
    return {line["command"] for worker in workers for line in worker.logged(REFUSED)}


def _operate(trial: Trial, command: str, *more: str) -> None:
    said = operate(trial.pipeline.settings, *command.split()[1:], *more)
    if said.status != 0:
        raise ChaosFailed(f"{command}: {said.errors}")


def trimmed(stage: Stage) -> str:
    """Messages are deleted before they are read: the gap is counted to the message, and the rest is right."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    with Trial(stage, server.url) as trial:
        workers = trial.begin(stage.times(20, 4))
        trial.wait_for_progress(1_000)
        workers[0].terminate()
        applied = trial.applied()
        trial.load.finish()
        log = trial.read_log()
        gone = {
            partition: min(len(messages), applied.get(partition, 0) + stage.rng.randrange(10, 60))
            for partition, messages in log.items()
        }
        offsets = [TopicPartition(trial.topic, partition, offset) for partition, offset in gone.items()]
        admin = _admin(trial)
        for deleted in admin.delete_records(offsets).values():
            deleted.result(ADMIN_TIMEOUT_S)
        workers[0].start_until_logged("worker started")
        trial.settle()
        for partition, messages in log.items():
            first = applied.get(partition, 0)
            messages[first : gone[partition]] = [
                Appended(message.at_us, None) for message in messages[first : gone[partition]]
            ]
        # Of a partition that was never read, no one can say that something is missing.
        missing = sum(offset - applied[partition] for partition, offset in gone.items() if partition in applied)
        if trial.counters()["offsets_lost"] != missing:
            raise ChaosFailed(f"{trial.counters()['offsets_lost']} offsets counted as lost, not {missing}")
        if not workers[0].logged("messages were deleted before they were read; going on where the log begins"):
            raise ChaosFailed("the worker does not say that messages are missing")
        trial.check(log)
    server.stop()
    return f"{missing} messages deleted unread: all of them reported"


def _wait_until_all_apply(trial: Trial, partitions: int) -> None:
    trial.wait(lambda: len(trial.applied()) == partitions, "something of every partition is applied")


def _admin(trial: Trial) -> AdminClient:
    return AdminClient({"bootstrap.servers": trial.kafka.bootstrap_servers})
