"""An object's bytes: sections one after the other, a directory of them, and a footer; it can be checked by itself.

`CMSEG1\\r\\n`, the sections, the directory, then 16 bytes: the directory's length and its CRC-32, little-endian, and
`CMSEGEND`. The directory is MessagePack: the name that the object was given, and of each section what it is of
(project, level, block, number of the frame), where it begins, how long it is, and its CRC-32.
"""

import zlib
from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

import msgspec

_HEAD = b"CMSEG1\r\n"
_END = b"CMSEGEND"
_FOOTER = Struct("<II8s")


class DamagedSegment(Exception):
    """An object is not what was put there; the message says where."""


class SectionKey(NamedTuple):
    """What a section is of: a frame of a block, by its number there."""

    project: int
    level: str
    block: int
    number: int


class Section(NamedTuple):
    """A section in its object: what it is of, where it begins, its length, and the CRC-32 of its bytes."""

    key: SectionKey
    offset: int
    length: int
    checksum: int


class _Directory(msgspec.Struct, array_like=True, frozen=True):
    name: str
    sections: tuple[Section, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Directory)


def pack_segment(name: str, contents: Mapping[SectionKey, bytes]) -> tuple[bytes, list[Section]]:
    """The bytes of an object of this name, and where its sections are."""
    sections = []
    offset = len(_HEAD)
    for key, content in contents.items():
        sections.append(Section(key, offset, len(content), zlib.crc32(content)))
        offset += len(content)
    directory = _encoder.encode(_Directory(name, tuple(sections)))
    footer = _FOOTER.pack(len(directory), zlib.crc32(directory), _END)
    return b"".join([_HEAD, *contents.values(), directory, footer]), sections


def check_segment(name: str, packed: bytes) -> list[Section]:
    """The sections of an object, each of them checked. Raises DamagedSegment."""
    if len(packed) < len(_HEAD) + _FOOTER.size or not packed.startswith(_HEAD):
        raise DamagedSegment("it does not begin as a segment does, or is too short for one")
    length, checksum, end = _FOOTER.unpack(packed[-_FOOTER.size :])
    directory = packed[-_FOOTER.size - length : -_FOOTER.size]
    if end != _END or len(directory) != length or zlib.crc32(directory) != checksum:
        raise DamagedSegment("its end, or its directory, is damaged")
    try:
        found = _decoder.decode(directory)
    except msgspec.MsgspecError as why:
        raise DamagedSegment(f"its directory is damaged: {why}") from why
    if found.name != name:
        raise DamagedSegment(f"it was put under another name, {found.name}")
    for section in found.sections:
        content = packed[section.offset : section.offset + section.length]
        if len(content) != section.length or zlib.crc32(content) != section.checksum:
            raise DamagedSegment(f"it is damaged at byte {section.offset}")
    return list(found.sections)
