"""A backup: a copy of all keys of a namespace in Redis, each shard's of one instant, beside the objects it points into.

Its objects lie below `backups@<namespace>/<when>-<random>/`, where no shard's objects can be: `00000.keys`,
`00001.keys` and so on, which hold the keys in the order in which they are to be written (at last those that shards
share, from which readers know of the shards), and `manifest.json`, put last: a backup without one is not whole. A key
that comes again replaces what came of it before.

An object of keys is a zstd frame of MessagePack, a list of `[key, when it expires (Unix ms, 0: never), its dump]`;
nil instead of a dump means that the key is gone. Where a shard goes on reading is taken from the manifest.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from aggregator.layout.sealed import object_prefix
from aggregator.segments.compression import CorruptFrame, compress, decompress

FORM_VERSION = 1
MANIFEST = "manifest.json"


class CopiedKey(msgspec.Struct, frozen=True, array_like=True):
    """A key as it was: when it expires (Unix ms, 0: never), and what DUMP says of it (None: it is gone)."""

    key: bytes
    expires_ms: int
    dumped: bytes | None


class CopiedShard(msgspec.Struct, frozen=True):
    """A shard's instant: the offset from which its log is to be read again, and the elements of that message that are
    applied already. `objects`: the objects that it points into, below its prefix, with their bytes; `owner`: what the
    object of that name holds (empty: none was put yet).
    """

    topic: str
    partition: int
    next_offset: int | None
    next_element: int
    layout: int
    as_of_us: int
    owner: str
    objects: dict[str, int]


class CopiedPart(msgspec.Struct, frozen=True):
    """An object of keys: its name below the backup's, its bytes, their SHA-256, and how many keys it holds."""

    name: str
    size_bytes: int
    sha256: str
    keys: int


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. `namespace`: of the settings; `generation`: the live one of it, whose shards these are;
    `lineage`: the same as in backups made before of the same Redis, or of one that they were restored into.
    """

    form: int
    namespace: str
    generation: str
    lineage: str
    made_at: str
    server: str
    shards: list[CopiedShard]
    parts: list[CopiedPart]

    @property
    def keys(self) -> int:
        """Return how many keys all parts hold, a key that comes again each time."""
        return sum(part.keys for part in self.parts)

    @property
    def size_bytes(self) -> int:
        """Return how many bytes all parts have."""
        return sum(part.size_bytes for part in self.parts)


class DamagedBackup(Exception):
    """A backup is not what was put there, or of a form that this version does not know; the message says which."""


_manifest = msgspec.json.Decoder(Manifest)
_encoder = msgspec.msgpack.Encoder()
_keys = msgspec.msgpack.Decoder(list[CopiedKey])


def backups_prefix(namespace: str) -> str:
    """Return what the names of all objects of a namespace's backups begin with."""
    return "backups@" + object_prefix(f"{{{namespace}}}")


def part_name(number: int) -> str:
    """The name of an object of keys, below its backup's."""
    return f"{number:05}.keys"


def encode_manifest(manifest: Manifest) -> bytes:
    """A manifest as it is stored."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode_manifest(stored: bytes, name: str) -> Manifest:
    """The manifest of a backup of this name. Raises DamagedBackup."""
    try:
        form = msgspec.json.decode(stored, type=dict[str, object]).get("form")
        if form != FORM_VERSION:
            raise DamagedBackup(f"{name} has form {form}, this version of callmeter knows {FORM_VERSION}")
        return _manifest.decode(stored)
    except msgspec.MsgspecError as why:
        raise DamagedBackup(f"{name} is damaged: {why}") from None


def pack_part(number: int, copies: Sequence[CopiedKey]) -> tuple[CopiedPart, bytes]:
    """An object of keys, and its entry in the manifest."""
    packed = compress(_encoder.encode(copies))
    return CopiedPart(part_name(number), len(packed), hashlib.sha256(packed).hexdigest(), len(copies)), packed


def unpack_part(part: CopiedPart, packed: bytes, name: str) -> list[CopiedKey]:
    """The keys of an object of this whole name. Raises DamagedBackup where it is not the one of the manifest."""
    if len(packed) != part.size_bytes or hashlib.sha256(packed).hexdigest() != part.sha256:
        raise DamagedBackup(f"{name} is damaged: it is not what its manifest says")
    try:
        return _keys.decode(decompress(packed))
    except (CorruptFrame, msgspec.MsgspecError) as why:
        raise DamagedBackup(f"{name} is damaged: {why}") from None
