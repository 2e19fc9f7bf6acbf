"""What has no cost, as a shard keeps it for its operator: how many calls of which project and model, and why.

`{tag}:unpriced`, hash: MessagePack [project number, model, unread] -> calls, in decimal

    93 01 aa 61636d652d6c6c6d2d31 c2 -> "12"      12 calls of project 1 with acme-llm-1, which has no price
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

# Of a shard: each is some 50 bytes in Redis and in its writer. What comes after counts as OTHERS.
MODELS_KEPT_MAX = 1_000


class Unpriced(NamedTuple):
    """A model of a project. `is_unread`: no count of tokens was found in its usage; else it has no price."""

    project: int
    model: str
    is_unread: bool


OTHERS = Unpriced(0, "", False)
"""Stands for all models that are not kept apart; no project has the number 0."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Unpriced).decode


def unpriced_field(unpriced: Unpriced) -> bytes:
    """The field of the hash."""
    return _encode(unpriced)


def read_unpriced(stored: Mapping[bytes, bytes]) -> dict[Unpriced, int]:
    """Calls by model, of the whole hash."""
    return {_decode(field): int(calls) for field, calls in stored.items()}
