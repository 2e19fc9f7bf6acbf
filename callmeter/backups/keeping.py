"""Which backups there are in an object store, and which of them have been kept for long enough."""

import secrets
from collections.abc import Iterable
from typing import NamedTuple

from aggregator.layout.backup import MANIFEST, Manifest, backups_prefix, decode_manifest
from aggregator.objects.object_store import ObjectMissing, ObjectStore
from aggregator.time_units import SECOND_US
from aggregator.timestamps import format_utc

# Random digits of a name: two that begin at the same instant have other ones.
NAME_BYTES = 4
# The objects of one that is being made may lie there for so long without a manifest; then it was cut off.
MAKING_S_MAX = 86_400


class NoBackup(Exception):
    """There is no backup, or none of this name; the message says so."""


class StoredBackup(NamedTuple):
    """A backup as the store lists it: when its newest object was written, and whether it has its manifest."""

    name: str
    modified_us: int
    size_bytes: int
    is_whole: bool
    objects: list[str]


def new_name(now_us: int) -> str:
    """A name below the namespace's prefix; names sort by when they were made."""
    when = format_utc(now_us).replace(":", "-")
    return f"{when}-{secrets.token_hex(NAME_BYTES)}"


def stored_backups(objects: ObjectStore, namespace: str) -> list[StoredBackup]:
    """All backups of a namespace, the oldest first. Raises ObjectStoreAway."""
    prefix = backups_prefix(namespace)
    found: dict[str, StoredBackup] = {}
    for one in objects.listed(prefix):
        name, _, rest = one.name[len(prefix) :].partition("/")
        before = found.get(name, StoredBackup(name, 0, 0, False, []))
        found[name] = StoredBackup(
            name,
            max(before.modified_us, one.modified_us),
            before.size_bytes + one.size_bytes,
            before.is_whole or rest == MANIFEST,
            [*before.objects, one.name],
        )
    return sorted(found.values())


def newest_backup(backups: Iterable[StoredBackup]) -> str:
    """The name of the newest whole backup. Raises NoBackup."""
    names = [one.name for one in backups if one.is_whole]
    if not names:
        raise NoBackup("there is no backup")
    return names[-1]


def read_manifest(objects: ObjectStore, namespace: str, name: str) -> Manifest:
    """The manifest of a backup. Raises NoBackup, DamagedBackup, and ObjectStoreAway."""
    whole_name = f"{backups_prefix(namespace)}{name}/{MANIFEST}"
    try:
        return decode_manifest(objects.read_whole(whole_name), whole_name)
    except ObjectMissing:
        raise NoBackup(f"there is no backup {name}") from None


def prune(objects: ObjectStore, namespace: str, keep_s: int, now_us: int) -> list[str]:
    """Delete backups that are older than this, but for the newest whole one, and what is left of those that were cut
    off; returns their names. Raises ObjectStoreAway.
    """
    backups = stored_backups(objects, namespace)
    newest = max((one.name for one in backups if one.is_whole), default=None)
    pruned = []
    for one in backups:
        age_s = (now_us - one.modified_us) / SECOND_US
        if one.name != newest and age_s > (keep_s if one.is_whole else MAKING_S_MAX):
            # Without its manifest it is none any more, whatever of it is left.
            objects.delete(sorted(one.objects, key=lambda object_name: not object_name.endswith(MANIFEST)))
            pruned.append(one.name)
    return pruned
