"""Backups of the one shard of tests, and restoring them."""

from typing import Any

from aggregator.layout.backup import Manifest
from aggregator.objects.object_store import ObjectStore
from aggregator.store.key_loading import KeyLoader
from callmeter.backups.keeping import read_manifest
from callmeter.backups.making import make_backup
from callmeter.backups.restoring import restore
from tests.support.folding import NOW_US, SHARD


def back_up(client: Any, objects: ObjectStore, now_us: int = NOW_US) -> tuple[str, Manifest]:
    """Make a backup; its name, and its manifest as it was stored."""
    name, made = make_backup(client, SHARD.namespace, objects, now_us)
    assert read_manifest(objects, SHARD.namespace, name) == made
    return name, made


def bring_back(client: Any, objects: ObjectStore, name: str) -> None:
    """Restore a backup, whatever Redis holds."""
    manifest = read_manifest(objects, SHARD.namespace, name)
    restore(KeyLoader(client, SHARD.namespace, manifest.generation), objects, name, manifest, {})
