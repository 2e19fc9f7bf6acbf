"""`callmeter backup`: copies of what Redis holds, beside the objects of sealed rollups: make, list, restore them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from confluent_kafka import KafkaException

from aggregator.layout.backup import DamagedBackup, Manifest
from aggregator.layout.keys import LAYOUT_VERSION
from aggregator.objects.object_store import ObjectStore
from aggregator.store.connection import connect
from aggregator.store.key_copying import NoInstant
from aggregator.store.key_loading import KeyLoader, OtherServer
from callmeter.backups.keeping import NoBackup, newest_backup, prune, read_manifest, stored_backups
from callmeter.backups.making import make_backup
from callmeter.backups.restoring import (
    Logs,
    Plan,
    RestoredShard,
    check_parts,
    find_faults,
    other_layout,
    restored_shards,
)
from callmeter.backups.restoring import (
    restore as restore_backup,
)
from callmeter.command_errors import explained_failures, kafka_trouble
from callmeter.object_store import opened_store
from callmeter.progress.work import WorkProgress
from callmeter.settings import Settings
from ingest.kafka.watermarks import watermarks

# A line each; of more it is enough to know how many.
FAULTS_SHOWN_MAX = 20


@click.group()
def backup() -> None:
    """Copies of all that Redis holds, in the store of CALLMETER_SEGMENTS__URL, from which a wiped Redis comes back.

    Workers make one by themselves every CALLMETER_SEGMENTS__BACKUP_EVERY.
    """


@backup.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def make(settings: Settings, as_json: bool) -> None:
    """Make a backup now, while workers go on: of each shard all keys as they are at one instant.

    Afterwards those older than CALLMETER_SEGMENTS__BACKUP_KEEP are deleted, but for the newest.
    """
    objects = _objects(settings)
    began_s = time.monotonic()
    with _explained(settings), WorkProgress("copying what Redis holds", "keys", 0) as progress:
        client = connect(settings.redis.url, settings.redis.cluster)

        def note(copied: int, left: int) -> None:
            progress.total = progress.done + copied + left
            progress.add(copied)

        namespace = settings.redis.namespace
        name, manifest = make_backup(client, namespace, objects, time.time_ns() // 1_000, note)
        pruned = prune(objects, namespace, settings.segments.backup_keep, time.time_ns() // 1_000)
    if as_json:
        click.echo(json.dumps(_summary(name, manifest) | {"pruned": pruned}))
        return
    click.echo(f"{name}: {_size(manifest)} in {time.monotonic() - began_s:.1f} s.")
    for one in pruned:
        click.echo(f"{one} was deleted: it is older than CALLMETER_SEGMENTS__BACKUP_KEEP, or was never finished.")


@backup.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def list_(settings: Settings, as_json: bool) -> None:
    """The backups there are, the oldest first."""
    objects = _objects(settings)
    with _explained(settings):
        found = stored_backups(objects, settings.redis.namespace)
    if as_json:
        rows = [{"name": one.name, "bytes": one.size_bytes, "whole": one.is_whole} for one in found]
        click.echo(json.dumps(rows))
        return
    for one in found:
        click.echo(f"{one.name}  {one.size_bytes:>14,} bytes{'' if one.is_whole else '  not finished'}")
    click.echo(f"{sum(one.is_whole for one in found)} backups.")


@backup.command()
@click.argument("name", required=False)
@click.option("--dry-run/--yes", default=True, help="Only look, and say what would happen (the default), or do it.")
@click.option("--replace", is_flag=True, help="Delete what Redis holds of the namespace now.")
@click.option("--despite-missing", is_flag=True, help="Go on though objects are missing; what needs them is a 503.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def restore(
    settings: Settings, name: str | None, dry_run: bool, replace: bool, despite_missing: bool, as_json: bool
) -> None:
    """Bring back a backup (the newest one, or the one of this NAME) into Redis.

    All of it is read and checked first, and the objects that it points into are looked for. Workers may run: they wait
    until it is done, and then read the log again from the backup's offsets. What Kafka has deleted of it meanwhile is
    said, partition by partition. A restore that was cut off is begun again with --replace.

    \b
    callmeter backup restore
    callmeter backup restore --yes
    """
    objects = _objects(settings)
    namespace = settings.redis.namespace
    with _explained(settings):
        name = newest_backup(stored_backups(objects, namespace)) if name is None else name
        manifest = read_manifest(objects, namespace, name)
        if (layout := other_layout(manifest)) is not None:
            raise click.ClickException(
                f"the backup {name} has layout {layout}, this version knows {LAYOUT_VERSION}: restore it with the "
                "version of callmeter that made it"
            )
        with WorkProgress("checking the backup", "keys", manifest.keys) as progress:
            for copies in check_parts(objects, name, manifest):
                progress.add(len(copies))
        faults = find_faults(objects, manifest)
        loader = KeyLoader(connect(settings.redis.url, settings.redis.cluster), namespace, manifest.generation)
        there, logs, why_unknown = loader.keys_there(), *_logs(settings, manifest)
        plan = Plan(name, manifest, restored_shards(manifest, logs), there, faults, why_unknown)
        refusal = plan.refusal(replace, despite_missing)
        if not dry_run and refusal is None:
            with WorkProgress("restoring", "keys", manifest.keys) as progress:
                restore_backup(loader, objects, name, manifest, logs, progress.add)
    _show(plan, dry_run, refusal, as_json)
    if refusal is not None:
        raise click.ClickException(refusal)


def _show(plan: Plan, dry_run: bool, refusal: str | None, as_json: bool) -> None:
    manifest = plan.manifest
    if as_json:
        shards = [msgspec.to_builtins(one) | {"offsets_lost": one.offsets_lost} for one in plan.shards]
        faults = {"missing": plan.faults.objects, "shared": plan.faults.owners}
        done = {"keys_there": plan.keys_there, "done": not dry_run and refusal is None}
        click.echo(json.dumps(_summary(plan.name, manifest) | {"shards": shards} | faults | done))
        return
    click.echo(f"{plan.name}: {_size(manifest)}, made at {manifest.made_at} by {manifest.server}.")
    for shard in plan.shards:
        click.echo(_line(shard))
    if plan.why_unknown:
        click.echo(f"What Kafka has deleted since is not known: {plan.why_unknown}")
    lost = sum(shard.offsets_lost for shard in plan.shards)
    if lost:
        click.echo(f"{lost:,} offsets are lost: Kafka has deleted them since. Workers count them as offsets_lost.")
    for name in plan.faults.objects[:FAULTS_SHOWN_MAX]:
        click.echo(f"{name} is missing, or is not as it was")
    for prefix in plan.faults.owners:
        click.echo(f"{prefix}: there are objects of another shard of this name")
    if refusal is None:
        click.echo("Nothing was changed; --yes does it." if dry_run else "Done.")


def _line(shard: RestoredShard) -> str:
    place = f"{shard.topic}/{shard.partition}: goes on at offset {shard.next_offset}"
    if shard.log_begins is None:
        return f"{place}; there is no such partition, or no broker that says"
    log = f"log {shard.log_begins} to {shard.log_ends}"
    if shard.is_other_log:
        return f"{place}; {log} is another one than the one that was read: `callmeter shard reset` will be needed"
    lost = f", {shard.offsets_lost} are lost" if shard.offsets_lost else ""
    return f"{place}; {log}: {shard.offsets_to_read} offsets to read{lost}"


def _logs(settings: Settings, manifest: Manifest) -> tuple[Logs, str]:
    """The logs of all topics that are read, or that the backup has shards of; and why they are not known."""
    kafka = settings.kafka
    topics = sorted({*kafka.topics, *(shard.topic for shard in manifest.shards)})
    try:
        return {topic: watermarks(kafka.bootstrap_servers, topic, kafka.extra) for topic in topics}, ""
    except KafkaException as away:
        return {}, kafka_trouble(settings, away)


def _summary(name: str, manifest: Manifest) -> dict[str, Any]:
    return {"name": name, "made_at": manifest.made_at, "keys": manifest.keys, "bytes": manifest.size_bytes}


def _size(manifest: Manifest) -> str:
    return f"{len(manifest.shards)} shards, {manifest.keys:,} keys, {manifest.size_bytes:,} bytes"


def _objects(settings: Settings) -> ObjectStore:
    objects = opened_store(settings)
    if objects is None:
        raise click.ClickException("CALLMETER_SEGMENTS__URL is not set: there is no store for backups.")
    return objects


@contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    """Raises click.ClickException for what is told in one sentence."""
    with explained_failures(settings):
        try:
            yield
        except (NoInstant, NoBackup, DamagedBackup) as why:
            raise click.ClickException(str(why)) from None
        except OtherServer as why:
            raise click.ClickException(
                f"this Redis cannot read what the backup holds ({why}): restore it into the server that it was made "
                "of, or a newer version of that; all partitions wait until a restore has succeeded"
            ) from None
