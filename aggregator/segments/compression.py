"""Compression of what is sealed, with a checksum: damaged bytes are told, never read."""

import threading
from collections.abc import Sequence

import zstandard

# Higher levels take 6 to 120 times as long for 2 to 6 %.
COMPRESSION_LEVEL = 3
# What a frame may come to when it is opened; one of 2,000 full cells of five models is under 30 MB.
FRAME_BYTES_MAX = 2**30
# What comes again is looked for from seven bytes on, and only among what 64 places remember.
_OF_SYMBOLS = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    min_match=7,
    hash_log=6,
    chain_log=6,
    search_log=1,
    window_log=17,
    target_length=0,
    write_checksum=True,
)

# To make one takes four times as long as it takes to open a small frame; none may be used by two threads at once.
_opening = threading.local()


class CorruptFrame(Exception):
    """Bytes that are not what was sealed."""


def compress(raw: bytes, level: int = COMPRESSION_LEVEL) -> bytes:
    """A frame of these bytes."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(raw)


def compress_parts(parts: Sequence[bytes], level: int = COMPRESSION_LEVEL) -> bytes:
    """A frame of these bytes, one part after the other: each is compressed by what its own bytes are like."""
    return _compressed_apart(parts, zstandard.ZstdCompressor(level=level, write_checksum=True))


def _compressed_apart(parts: Sequence[bytes], compressor: zstandard.ZstdCompressor) -> bytes:
    packing = compressor.compressobj(size=sum(map(len, parts)))
    packed = [packing.compress(part) + packing.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts]
    return b"".join([*packed, packing.flush()])


def compress_symbols(parts: Sequence[bytes]) -> bytes:
    """A frame of these bytes, one part after the other: each by how often which byte is in it, and by little else.

    In bytes without a pattern of which few occur, short runs come again by chance; to say where takes more bytes.
    """
    return _compressed_apart(parts, zstandard.ZstdCompressor(compression_params=_OF_SYMBOLS))


def decompress(packed: bytes) -> bytes:
    """The bytes of a frame. Raises CorruptFrame."""
    try:
        opener: zstandard.ZstdDecompressor = _opening.opener
    except AttributeError:
        opener = _opening.opener = zstandard.ZstdDecompressor()
    try:
        return opener.decompress(packed, max_output_size=FRAME_BYTES_MAX)
    except zstandard.ZstdError as why:
        raise CorruptFrame(str(why)) from why
