"""Which names stand in usage that no count of tokens was found in: a sample, for the operator. Names only, no values.

`{tag}:unread`, hash: MessagePack [project id, model] -> MessagePack list of names
"""

from collections.abc import Mapping

import msgspec

# Of a shard; each is some 200 bytes. Further models are counted all the same, without their names.
MODELS_EXPLAINED_MAX = 200
NAMES_MAX = 20
NAME_CHARACTERS_MAX = 64

ProjectModel = tuple[str, str]

_encode = msgspec.msgpack.Encoder().encode
_decode_which = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_names = msgspec.msgpack.Decoder(list[str]).decode


def unread_fields(names: Mapping[ProjectModel, list[str]]) -> dict[bytes, bytes]:
    """Fields of the hash with their values."""
    return {_encode(which): _encode(found) for which, found in names.items()}


def read_unread(stored: Mapping[bytes, bytes]) -> dict[ProjectModel, list[str]]:
    """Names by project and model, of the whole hash."""
    return {_decode_which(field): _decode_names(value) for field, value in stored.items()}
