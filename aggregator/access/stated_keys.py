"""Access keys that an operator states in a setting or a file: they hold whatever Redis forgets."""

from collections.abc import Iterable

import msgspec

from aggregator.access.key import AccessKey, Scope, record_of
from aggregator.access.key_ring import Keys

SCOPES: dict[str, tuple[Scope, ...]] = {
    "read": ("read",),
    "write": ("write",),
    "read,write": ("read", "write"),
    "write,read": ("read", "write"),
}
# Each is looked at once, at the start; more is a user directory, not a setting.
STATED_KEYS_MAX = 1_000
EVERY_PROJECT = "*"


def stated_keys(text: str) -> tuple[AccessKey, ...]:
    """The keys of a text with one a line: `cm_<id>_<secret> NAME [SCOPES [PROJECTS]]`, what is after # left out.

    SCOPES is `read` (the default), `write` or `read,write`; PROJECTS are names with commas between, or `*` (default).
    Raises ValueError that names the line, and never what it holds.
    """
    found: dict[str, AccessKey] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        key = _key(words, number)
        if key.key_id in found:
            raise ValueError(f"line {number}: key {key.key_id} is there twice")
        found[key.key_id] = key
    if len(found) > STATED_KEYS_MAX:
        raise ValueError(f"has {len(found):,} keys; at most {STATED_KEYS_MAX:,} may be stated")
    return tuple(found.values())


def _key(words: list[str], number: int) -> AccessKey:
    if not 2 <= len(words) <= 4:
        raise ValueError(f"line {number}: has {len(words)} words, not `cm_<id>_<secret> NAME [SCOPES [PROJECTS]]`")
    shown, name, scopes, projects = (*words, *("read", EVERY_PROJECT)[len(words) - 2 :])
    if scopes not in SCOPES:
        raise ValueError(f"line {number}: scopes are `read`, `write` or `read,write`, not {scopes!r}")
    named = None if projects == EVERY_PROJECT else tuple(filter(None, projects.split(",")))
    if named == ():
        raise ValueError(f"line {number}: names no project; `*` is every project")
    key = record_of(shown, name, named, SCOPES[scopes])
    if key is None:
        raise ValueError(f"line {number}: begins with no access key; `callmeter keys create` makes one")
    return key


class StatedKeys(msgspec.Struct):
    """Keys that are stated, and those of a store beneath them; a stated one is found when the store is away."""

    stated: tuple[AccessKey, ...]
    beneath: Keys

    async def find(self, key_id: str) -> AccessKey | None:
        """The key of this id. Raises what the store raises, where it has to be asked."""
        key = _by_id(self.stated, key_id)
        return await self.beneath.find(key_id) if key is None else key

    async def mark_used(self, key_id: str, now_us: int) -> None:
        """Note a use in the store; nobody needs to be told when a stated key was used last."""
        if _by_id(self.stated, key_id) is None:
            await self.beneath.mark_used(key_id, now_us)


def _by_id(keys: Iterable[AccessKey], key_id: str) -> AccessKey | None:
    return next((key for key in keys if key.key_id == key_id), None)
