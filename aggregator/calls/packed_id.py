"""Ids in the fewest bytes: most are UUIDs or hexadecimal trace ids, and every call record and index holds several.

The first byte tells the form, so that two different ids never share their bytes.
"""

from functools import lru_cache

# An id comes up some six times in a batch: as call, as parent, as trace. 200 bytes each.
IDS_CACHED_MAX = 65_536

_TEXT, _UUID, _HEX = b"\x00", b"\x01", b"\x02"
_UUID_LENGTH, _HEX_LENGTHS = 36, (16, 32)


@lru_cache(IDS_CACHED_MAX)
def pack_id(text: str) -> bytes:
    """`text` as bytes: 17 for a lower-case UUID, 9 or 17 for 16 or 32 hexadecimal digits, else its UTF-8 and one
    more.
    """
    length = len(text)
    if length == _UUID_LENGTH and text[8:24:5] == "----":
        digits = text.replace("-", "")
        packed = _from_hex(digits) if len(digits) == _UUID_LENGTH - 4 else None
        if packed is not None:
            return _UUID + packed
    elif length in _HEX_LENGTHS:
        packed = _from_hex(text)
        if packed is not None:
            return _HEX + packed
    return _TEXT + text.encode()


def _from_hex(digits: str) -> bytes | None:
    """Return what `digits` stand for, if that gives them back: upper case and spaces would not come back."""
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return None
    return packed if packed.hex() == digits else None


def unpack_id(packed: bytes) -> str:
    """The id that `pack_id` was given."""
    form, rest = packed[:1], packed[1:]
    if form == _TEXT:
        return rest.decode()
    digits = rest.hex()
    if form == _HEX:
        return digits
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
