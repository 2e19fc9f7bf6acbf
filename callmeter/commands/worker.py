"""`callmeter worker`: wires Kafka, prices and Redis to a worker and runs it until it is told to stop."""

import logging
import resource
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from aggregator.layout.keys import ShardName
from aggregator.store.connection import connect
from aggregator.store.generation import Generations
from aggregator.store.memory import node_memories
from aggregator.store.shard_store import EvictingPolicy, OtherLayout
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from callmeter.backups.regularly import RegularBackups
from callmeter.garbage import YOUNG_OF_BATCHES_MAX, collect_seldom
from callmeter.metrics.unpriced_models import unpriced_calls
from callmeter.metrics.work_metrics import StoreMetrics, batch_histogram
from callmeter.metrics.worker_metrics import Sources, WorkerCollector, why_unready
from callmeter.metrics.worker_server import serve_metrics
from callmeter.object_store import opened_store
from callmeter.settings import Settings
from callmeter.settings_values import HOSTNAME
from callmeter.shard_opening import ShardOpener
from callmeter.stored_offsets import partition_progress
from ingest.batch_limits import BatchLimits
from ingest.dead_letters import DeadLetterTopic
from ingest.kafka.consumer import ClientEnded, Source
from ingest.kafka.partition import Partition
from ingest.kafka.sent_events import SentEvents
from ingest.topology import Topology
from ingest.worker import Worker, WorkerSettings

log = logging.getLogger(__name__)


@click.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Read events from Kafka and fold them into Redis, until SIGTERM or Ctrl-C.

    Start as many as you like, up to one per partition: they share the partitions by themselves. A topic that does not
    exist yet, and a Redis that cannot be reached, are waited for.
    """
    kafka = settings.kafka
    letters = DeadLetterTopic(kafka.bootstrap_servers, kafka.dead_letter_topic, kafka.extra)
    registry = CollectorRegistry()
    worker = make_worker(settings, letters, StoreMetrics(registry, "worker"))
    worker.note_batch = batch_histogram(registry).observe
    collect_seldom(YOUNG_OF_BATCHES_MAX)

    def stop(number: int, _: object) -> None:
        """The first signal ends the work in order; a second one ends it at once."""
        worker.stop()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    _serve_metrics(settings, worker, letters, registry)
    _back_up_regularly(settings)
    try:
        worker.run()
    except (OtherLayout, EvictingPolicy, ClientEnded) as refused:
        raise click.ClickException(str(refused)) from None


def _back_up_regularly(settings: Settings) -> None:
    """Have what Redis holds copied from time to time, by one of all workers."""
    objects, every_s = opened_store(settings), settings.segments.backup_every
    if objects is not None and every_s:
        client = connect(settings.redis.url, settings.redis.cluster)
        RegularBackups(client, settings.redis.namespace, objects, every_s, settings.segments.backup_keep).start()


def _serve_metrics(settings: Settings, worker: Worker, letters: DeadLetterTopic, registry: CollectorRegistry) -> None:
    """Tell Prometheus of the worker; where the port is taken, say so and go on."""
    host, port = settings.metrics.host, settings.metrics.port
    if not port:
        return
    client = connect(settings.redis.url, settings.redis.cluster)
    kafka = settings.kafka
    progress = partial(
        partition_progress, client, settings.redis.namespace, kafka.bootstrap_servers, kafka.topics, kafka.extra
    )
    unpriced = partial(unpriced_calls, client, settings.redis.namespace)
    sources = Sources(progress, partial(node_memories, client), lambda: letters.events, unpriced)
    registry.register(WorkerCollector(worker, sources, _now_us))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    try:
        serve_metrics(host, port, registry, lambda: why_unready(worker, _now_us()))
    except OSError as taken:
        log.warning("no metrics: the address is taken", extra={"host": host, "port": port, "why": str(taken)})


def make_worker(settings: Settings, letters: DeadLetterTopic, metrics: StoreMetrics) -> Worker:
    """A worker as the settings say. Raises click.ClickException where the price file is wrong."""
    client = connect(settings.redis.url, settings.redis.cluster, metrics.note_round_trip)
    opener = ShardOpener(settings, client, metrics.counted)

    generations = Generations(client, settings.redis.namespace)

    def open_shard(partition: Partition) -> Shard:
        namespace = generations.live()
        generations.take_back(ShardName(namespace, *partition))
        return opener.open(namespace, partition)

    kafka = settings.kafka
    member = kafka.member.replace(HOSTNAME, socket.gethostname())
    source = Source(kafka.bootstrap_servers, kafka.group_id, kafka.topics, kafka.extra, _now_us, member)
    return Worker(
        WorkerSettings(
            settings.retention.kept().calls_s * SECOND_US,
            BatchLimits(settings.batch.messages_max, settings.batch.bytes_max, settings.batch.wait_ms),
            settings.now_us(),
            settings.default_project,
        ),
        source,
        letters,
        open_shard,
        _now_us,
        _memory_high_water_bytes,
        Topology(source, opener.elsewhere, SentEvents(kafka.bootstrap_servers, kafka.extra)),
    )


def _now_us() -> int:
    return time.time_ns() // 1_000


def _memory_high_water_bytes() -> int:
    """The most memory that this process has held.

    On Linux a child's `ru_maxrss` begins with its parent's memory at the fork; /proc tells of the process alone.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        high_water = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return high_water if sys.platform == "darwin" else high_water * 1024
    [line] = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
