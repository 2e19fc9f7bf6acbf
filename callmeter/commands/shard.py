"""`callmeter shard`: where a shard goes on in its partition, set by hand when the log is not the one it was."""

import json
import time

import click
import msgspec

from aggregator.layout.keys import ShardName
from aggregator.layout.write import ShardWrite
from aggregator.store.connection import connect
from aggregator.store.generation import live_namespace
from aggregator.store.shard_store import ShardStore
from callmeter.beside_workers import beside_workers
from callmeter.command_errors import explained_failures
from callmeter.settings import Settings
from ingest.kafka.topic_facts import TopicFacts
from ingest.kafka.watermarks import watermarks


class Reset(msgspec.Struct, frozen=True):
    """What setting a shard's next offset means; offsets of the log from `log_begins` up to, not with, `log_ends`.

    `folded_topic_id`: of the topic that the stored offset is of; `topic_id`: of the one that is there; None: not known.
    """

    topic: str
    partition: int
    next_offset: int | None
    log_begins: int
    log_ends: int
    new_next_offset: int
    folded_topic_id: str | None = None
    topic_id: str | None = None

    @property
    def is_other_log(self) -> bool:
        """Whether the log is not the one that was applied: it ends before the stored offset, or has another id."""
        if self.next_offset is None:
            return False
        is_other_topic = None not in (self.folded_topic_id, self.topic_id) and self.folded_topic_id != self.topic_id
        return is_other_topic or self.next_offset > self.log_ends

    @property
    def messages_again(self) -> int:
        """Messages that were applied and will be folded again."""
        if self.next_offset is None or self.is_other_log:
            return 0
        return max(0, self.next_offset - self.new_next_offset)

    @property
    def messages_skipped(self) -> int:
        """Messages that were not applied and never will be."""
        next_offset = self.log_begins if self.next_offset is None or self.is_other_log else self.next_offset
        return max(0, self.new_next_offset - max(next_offset, self.log_begins))

    @property
    def messages_to_read(self) -> int:
        """Messages from the new offset to the end of the log."""
        return self.log_ends - self.new_next_offset


@click.group()
def shard() -> None:
    """The state of one partition: where a worker goes on reading, such as after its topic was recreated."""


@shard.command()
@click.option("--topic", required=True, metavar="T", help="The topic.")
@click.option("--partition", required=True, type=click.IntRange(0), metavar="P", help="The partition of the topic.")
@click.option("--to-beginning", is_flag=True, help="Go on with the oldest message that the log holds.")
@click.option("--to-end", is_flag=True, help="Go on with the next message that comes.")
@click.option("--to-offset", type=click.IntRange(0), metavar="N", help="Go on with the message at this offset.")
@click.option("--dry-run/--yes", default=True, help="Only say what would happen (the default), or do it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_obj
def reset(
    settings: Settings,
    topic: str,
    partition: int,
    to_beginning: bool,
    to_end: bool,
    to_offset: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set the offset at which a shard goes on reading its partition.

    For a recreated topic, one that was deleted and made again (the worker says so, and does not read it), and for going
    over messages again or past them. The state is kept, and calls that it knows are not counted twice. A live worker
    notices and goes on from the new offset by itself.

    \b
    callmeter shard reset --topic calls --partition 0 --to-beginning
    callmeter shard reset --topic calls --partition 0 --to-beginning --yes
    """
    if to_beginning + to_end + (to_offset is not None) != 1:
        raise click.UsageError("Say where to go on: --to-beginning, --to-end or --to-offset N.")
    with explained_failures(settings):
        log = watermarks(settings.kafka.bootstrap_servers, topic, settings.kafka.extra).get(partition)
        if log is None:
            raise click.ClickException(f"there is no partition {partition} of a topic {topic!r}")
        begins, ends = log
        target = begins if to_beginning else ends if to_offset is None else to_offset
        if not begins <= target <= ends:
            raise click.ClickException(
                f"the log of {topic}/{partition} holds offsets from {begins} up to {ends}, not {target}"
            )
        client = connect(settings.redis.url, settings.redis.cluster)
        namespace = live_namespace(client, settings.redis.namespace)
        store = ShardStore(client, ShardName(namespace, topic, partition))
        store.shard_fields()
        [folded] = store.read_hashes([store.keys.log])
        kafka = {"bootstrap.servers": settings.kafka.bootstrap_servers, **settings.kafka.extra}
        ids = folded.get(b"topic_id", b"").decode() or None, TopicFacts(kafka).find(topic, time.time_ns() // 1_000)
        plan = Reset(topic, partition, store.next_offset(), begins, ends, target, *ids)
        if not dry_run:
            plan = _set(store, plan)
    _show(plan, dry_run, as_json)


def _set(store: ShardStore, plan: Reset) -> Reset:
    """Store the new next offset; the plan as it then was, since a live worker may have gone on."""

    def write() -> Reset:
        without_log = ShardWrite(increments={"resets": 1}, drops=[store.keys.log])
        store.apply(plan.next_offset, plan.new_next_offset, without_log)
        return plan

    def look_again() -> None:
        nonlocal plan
        plan = msgspec.structs.replace(plan, next_offset=store.next_offset())

    return beside_workers(write, look_again)


def _show(plan: Reset, dry_run: bool, as_json: bool) -> None:
    if as_json:
        numbers = {name: getattr(plan, name) for name in ("messages_again", "messages_skipped", "messages_to_read")}
        click.echo(json.dumps(msgspec.structs.asdict(plan) | numbers | {"done": not dry_run}))
        return
    stored = "none" if plan.next_offset is None else str(plan.next_offset)
    would = "would " if dry_run else "will "
    click.echo(f"{plan.topic}/{plan.partition}: stored next offset {stored}; log {plan.log_begins} to {plan.log_ends}.")
    if plan.is_other_log:
        click.echo("The topic was made anew or has lost its end: it is another log than the one that was read.")
    click.echo(
        f"Reading {would}go on at offset {plan.new_next_offset}: {plan.messages_to_read} messages to read, "
        f"{plan.messages_again} of them folded again, {plan.messages_skipped} skipped."
    )
    click.echo("The state is kept; calls that are counted already are not counted twice.")
    click.echo("Nothing was changed; --yes does it." if dry_run else "Done.")
