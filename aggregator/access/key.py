"""An access key: what a reader of the api, or a producer at the gateway, shows; and the record that recognises it."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Literal

import msgspec

Scope = Literal["read", "write"]
"""What a key allows: to ask for answers, or to send events."""

# 192 random bits: nobody guesses that, however fast the hash. It is why one SHA-256 is enough here, where a password,
# which people choose, would need scrypt: tens of milliseconds on every request.
_SECRET_BYTES = 24
_ID_BYTES = 6
_PREFIX = "cm"
# A key has 64 characters; what is much longer is none and need not be hashed.
_KEY_CHARACTERS_MAX = 128


class AccessKey(msgspec.Struct, frozen=True):
    """What is stored of a key, and what it allows in which projects.

    `projects` None: every project. `created_us`: microseconds since the epoch. A record without `scopes`, as all were
    before producers had keys, reads.
    """

    key_id: str
    name: str
    secret_sha256: str
    projects: tuple[str, ...] | None
    created_us: int
    scopes: tuple[Scope, ...] = ("read",)

    def may_read(self, project_id: str) -> bool:
        """Whether the key may ask about this project, existing or not."""
        return "read" in self.scopes and self._holds(project_id)

    def may_write(self, project_id: str) -> bool:
        """Whether the key may send events of this project, existing or not."""
        return "write" in self.scopes and self._holds(project_id)

    def _holds(self, project_id: str) -> bool:
        return self.projects is None or project_id in self.projects


def new_access_key(
    name: str, projects: Sequence[str] | None, now_us: int, scopes: Sequence[Scope] = ("read",)
) -> tuple[AccessKey, str]:
    """A new record and the key itself, `cm_<id>_<secret>`, which nothing can show again."""
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    held = None if projects is None else tuple(dict.fromkeys(projects))
    allowed = tuple(dict.fromkeys(scopes))
    return AccessKey(key_id, name, _sha256(secret), held, now_us, allowed), f"{_PREFIX}_{key_id}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """The key's id and its secret, or None for what is no key."""
    parts = text.split("_")
    if len(text) > _KEY_CHARACTERS_MAX or len(parts) != 3 or parts[0] != _PREFIX:
        return None
    return parts[1], parts[2]


def record_of(shown: str, name: str, projects: Sequence[str] | None, scopes: Sequence[Scope]) -> AccessKey | None:
    """The record of a key that exists, made from the key itself, or None for what is no key."""
    parts = split_key(shown)
    if parts is None:
        return None
    key_id, secret = parts
    return AccessKey(key_id, name, _sha256(secret), None if projects is None else tuple(projects), 0, tuple(scopes))


def is_secret_of(secret: str, key: AccessKey) -> bool:
    """Whether `secret` is the one of this key, in a time that does not depend on where they differ."""
    return hmac.compare_digest(_sha256(secret), key.secret_sha256)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
