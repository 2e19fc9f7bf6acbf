"""What some writers put before the JSON of a message: the prefix of a schema registry, and a byte order mark."""

# 0x00 and the id of a schema in four bytes: the wire format of Confluent's serializers.
_REGISTRY_MAGIC = b"\0"
_REGISTRY_BYTES = 5
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

PREFIXES = (_REGISTRY_MAGIC, _BYTE_ORDER_MARK)
"""What a message with a prefix begins with."""


def without_prefix(value: bytes) -> bytes:
    """The JSON behind them, the prefix first, each once; the same bytes where there is neither."""
    if value.startswith(_REGISTRY_MAGIC):
        value = value[_REGISTRY_BYTES:]
    return value.removeprefix(_BYTE_ORDER_MARK)
