"""`callmeter worker`: wires Kafka, prices and Redis to a worker and runs it until it is told to stop."""

import resource
import signal
import sys
import time

import click

from aggregator.store.connection import connect
from aggregator.store.generation import live_namespace
from aggregator.store.shard_store import EvictingPolicy, OtherLayout
from aggregator.writing.shard import Shard
from callmeter.garbage import collect_seldom
from callmeter.settings import Settings
from callmeter.shard_opening import ShardOpener
from ingest.batch_limits import BatchLimits
from ingest.dead_letters import DeadLetterTopic
from ingest.kafka.consumer import Source
from ingest.kafka.partition import Partition
from ingest.worker import Worker, WorkerSettings


@click.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Read events from Kafka and fold them into Redis, until SIGTERM or Ctrl-C.

    Start as many as you like, up to one per partition: they share the partitions by themselves. A topic that does not
    exist yet, and a Redis that cannot be reached, are waited for.
    """
    worker = make_worker(settings)
    collect_seldom()

    def stop(number: int, _: object) -> None:
        """The first signal ends the work in order; a second one ends it at once."""
        worker.stop()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        worker.run()
    except (OtherLayout, EvictingPolicy) as refused:
        raise click.ClickException(str(refused)) from None


def make_worker(settings: Settings) -> Worker:
    """A worker as the settings say. Raises click.ClickException where the price file is wrong."""
    client = connect(settings.redis.url, settings.redis.cluster)
    opener = ShardOpener(settings, client)

    def open_shard(partition: Partition) -> Shard:
        return opener.open(live_namespace(client, settings.redis.namespace), partition)

    kafka = settings.kafka
    return Worker(
        WorkerSettings(
            settings.retention.kept().calls_s * 1_000_000,
            BatchLimits(settings.batch.messages_max, settings.batch.bytes_max, settings.batch.wait_ms),
            settings.now_us(),
            settings.default_project,
        ),
        Source(kafka.bootstrap_servers, kafka.group_id, kafka.topics, kafka.extra, _now_us),
        DeadLetterTopic(kafka.bootstrap_servers, kafka.dead_letter_topic, kafka.extra),
        open_shard,
        _now_us,
        _memory_high_water_bytes,
    )


def _now_us() -> int:
    return time.time_ns() // 1_000


def _memory_high_water_bytes() -> int:
    high_water = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return high_water if sys.platform == "darwin" else high_water * 1024
