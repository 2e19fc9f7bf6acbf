"""`callmeter segments`: the objects that sealed rollups are in: list them, verify them, delete what nothing needs."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import click
import redis

from aggregator.layout.keys import ShardName
from aggregator.layout.sealed import object_prefix
from aggregator.objects.object_store import ObjectStore, StoredObject
from aggregator.rollups.levels import Retention
from aggregator.store.connection import connect
from aggregator.store.generation import Generations
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.timestamps import format_utc
from aggregator.writing.collecting import Collecting, list_objects
from aggregator.writing.limits import ShardLimits
from aggregator.writing.object_verification import shard_objects, verify_objects
from aggregator.writing.objects_access import AtOnce, objects_access
from callmeter.beside_workers import beside_workers
from callmeter.command_errors import explained_failures
from callmeter.object_store import opened_store
from callmeter.settings import Settings

GRACE_S = ShardLimits().objects_grace_s

as_json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group()
def segments() -> None:
    """Sealed rollups that CALLMETER_SEGMENTS__URL holds: what there is, whether it is whole, what nothing needs."""


@segments.command(name="list")
@as_json_option
@click.pass_obj
def list_(settings: Settings, as_json: bool) -> None:
    """The objects that Redis points into, and those that are kept for a while though nothing needs them any more."""
    with explained_failures(settings):
        rows: list[dict[str, Any]] = []
        for store in _stores(settings):
            prefix = object_prefix(store.keys.objects)
            entries, retired_us = shard_objects(store)
            rows += [
                {"object": prefix + name, "bytes": entry.size_bytes, "blocks": len(entry.blocks), "retired_since": None}
                for name, entry in sorted(entries.items())
            ]
            rows += [
                {"object": prefix + name, "bytes": None, "blocks": 0, "retired_since": format_utc(since_us)}
                for name, since_us in sorted(retired_us.items())
            ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        state = f"retired since {row['retired_since']}" if row["bytes"] is None else f"{row['bytes']:>12,} bytes"
        click.echo(f"{row['object']}  {state}  {row['blocks']} blocks")
    kept = [row["bytes"] for row in rows if row["bytes"] is not None]
    click.echo(f"{len(kept)} objects, {sum(kept):,} bytes; {len(rows) - len(kept)} retired.")


@segments.command()
@as_json_option
@click.pass_obj
def verify(settings: Settings, as_json: bool) -> None:
    """Read every object, check each part of it, and follow every pointer into it. Ends with status 1 if one is wrong.

    Workers may go on meanwhile; where one moves something just then, try again.
    """
    objects = _objects(settings)
    checked, wrong = 0, []
    with explained_failures(settings):
        for store in _stores(settings):
            for state in verify_objects(store, objects, shard_objects(store)[0]):
                checked += 1
                wrong += [{"object": state.name, "wrong": one} for one in state.wrong]
    if as_json:
        click.echo(json.dumps({"objects": checked, "wrong": wrong}))
    else:
        for one in wrong:
            click.echo(f"{one['object']}: {one['wrong']}")
        click.echo(f"{checked} objects: {f'{len(wrong)} faults' if wrong else 'all as they were put'}.")
    if wrong:
        raise click.exceptions.Exit(1)


@segments.command()
@click.option("--dry-run/--yes", default=True, help="Only say what would happen (the default), or do it.")
@as_json_option
@click.pass_obj
def collect(settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Delete objects that nothing has pointed into for seven days, as workers do every hour by themselves.

    An object that nothing ever pointed into is noted now, and deleted seven days later. With --yes also what is left
    of generations that a rebuild has replaced, once it is seven days old.

    \b
    callmeter segments collect
    callmeter segments collect --yes
    """
    objects = _objects(settings)
    now_us = settings.now_us() or time.time_ns() // 1_000
    totals: dict[str, Any] = {"noted": [], "deleted": [], "shared": []}
    with explained_failures(settings):
        client = connect(settings.redis.url, settings.redis.cluster)
        for shard in _shards(settings, client):
            kept = settings.retention.kept()
            beside_workers(partial(_collect, client, shard, objects, kept, now_us, dry_run, totals))
        left = [one.name for one in _of_old_generations(settings, client, objects, now_us)]
        totals["deleted"] += left
        if not dry_run:
            objects.delete(left)
    if as_json:
        click.echo(json.dumps(totals | {"done": not dry_run}))
        return
    for name in totals["shared"]:
        click.echo(f"{name}: there are objects of another shard of this name; those are left.")
    would = "would be" if dry_run else "was"
    for name in totals["noted"]:
        click.echo(f"{name} {would} noted as needed by nothing")
    for name in totals["deleted"]:
        click.echo(f"{name} {would} deleted")
    click.echo("Nothing was changed; --yes does it." if dry_run else "Done.")


def _collect(
    client: redis.Redis,
    shard: ShardName,
    objects: ObjectStore,
    retention: Retention,
    now_us: int,
    dry_run: bool,
    totals: dict[str, Any],
) -> None:
    store = ShardStore(client, shard)
    if store.next_offset() is None:
        return
    prefix = object_prefix(store.keys.objects)
    collecting = Collecting(store, objects_access(objects, AtOnce()), retention, GRACE_S, 0)
    found = collecting.find(list_objects(objects, prefix), now_us)
    if not dry_run:
        collecting.retire(found, now_us)
        if found.due:
            objects.delete([prefix + name for name in found.due])
            collecting.forget(found.due)
    totals["noted"] += [prefix + name for name in found.orphans]
    totals["deleted"] += [prefix + name for name in found.due]
    totals["shared"] += [prefix] if found.is_shared else []


def _of_old_generations(
    settings: Settings, client: redis.Redis, objects: ObjectStore, now_us: int
) -> Iterator[StoredObject]:
    """Objects of generations that a rebuild has replaced, or given up, for longer than the grace."""
    for namespace in Generations(client, settings.redis.namespace).dropped():
        for one in objects.listed(object_prefix(f"{{{namespace}}}")):
            if one.modified_us <= now_us - GRACE_S * SECOND_US:
                yield one


def _shards(settings: Settings, client: redis.Redis) -> list[ShardName]:
    generations = Generations(client, settings.redis.namespace)
    return generations.shards(generations.live())


def _stores(settings: Settings) -> Iterator[ShardStore]:
    client = connect(settings.redis.url, settings.redis.cluster)
    for shard in _shards(settings, client):
        yield ShardStore(client, shard)


def _objects(settings: Settings) -> ObjectStore:
    objects = opened_store(settings)
    if objects is None:
        raise click.ClickException("CALLMETER_SEGMENTS__URL is not set: sealed rollups are in Redis.")
    return objects
