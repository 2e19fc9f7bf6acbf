"""Reads a request's body within limits of size and time, and decompresses it within the same limits of size."""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import zstandard
from starlette.requests import ClientDisconnect, Request

from ingest.http.refusal import Refused, try_later


class BodyLimits(msgspec.Struct, frozen=True):
    """What bodies may cost."""

    # Weave's clients send 31 MiB at most; decompressed, as much is allowed as a message of Kafka may have.
    bytes_max: int = 32 * 2**20
    decompressed_bytes_max: int = 64 * 2**20
    # SDKs send from data centres; whoever is slower holds a connection for nothing.
    wait_s_max: float = 30
    # All bodies that are coming or in work, decompressed, together.
    all_bytes_max: int = 256 * 2**20


class BodyBudget:
    """How many bytes all bodies together may still have."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that takes so many bytes more, or raises Refused (429); all are given back at the end."""
        taken = 0

        def take(size_bytes: int) -> None:
            nonlocal taken
            if size_bytes > self._left:
                raise try_later(429, "The gateway has no room for this body beside the others; please retry.")
            self._left -= size_bytes
            taken += size_bytes

        try:
            yield take
        finally:
            self._left += taken


async def read_body(request: Request, limits: BodyLimits, take: Callable[[int], None]) -> bytes:
    """The whole body, decompressed as its Content-Encoding says.

    Raises Refused: 413 too large, 408 too slow, 415 for an encoding nobody knows, 400 for one that is broken, and what
    `take`, which is told of every byte, raises.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 20 or int(announced) > limits.bytes_max):
        raise _too_large(limits.bytes_max)
    try:
        async with asyncio.timeout(limits.wait_s_max):
            body = await _read(request, limits.bytes_max, take)
    except TimeoutError:
        raise Refused(408, f"The body did not arrive within {limits.wait_s_max:g} seconds.") from None
    except ClientDisconnect:
        raise Refused(400, "The client went away.") from None
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    return _decompress(body, encoding, limits.decompressed_bytes_max, take)


async def _read(request: Request, bytes_max: int, take: Callable[[int], None]) -> bytes:
    chunks = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > bytes_max:
            raise _too_large(bytes_max)
        take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _decompress(body: bytes, encoding: str, bytes_max: int, take: Callable[[int], None]) -> bytes:
    """All of the body, never more than `bytes_max` of it in memory."""
    try:
        if encoding in ("gzip", "x-gzip"):
            decompressed = _inflate(body, zlib.MAX_WBITS | 16, bytes_max)
        elif encoding == "deflate":
            # The standard means zlib's frame; some clients send the bare stream.
            framed = len(body) > 1 and body[0] & 15 == 8 and (body[0] * 256 + body[1]) % 31 == 0
            decompressed = _inflate(body, zlib.MAX_WBITS if framed else -zlib.MAX_WBITS, bytes_max)
        elif encoding == "zstd":
            with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as stream:
                decompressed = stream.read(bytes_max + 1)
        else:
            raise Refused(415, f"The gateway does not know the encoding {encoding[:40]!r}: gzip, deflate, zstd.")
    except (zlib.error, zstandard.ZstdError, EOFError) as broken:
        raise Refused(400, f"The body is no {encoding}: {broken}") from None
    if len(decompressed) > bytes_max:
        raise _too_large(bytes_max)
    take(len(decompressed))
    return decompressed


def _inflate(body: bytes, window_bits: int, bytes_max: int) -> bytes:
    inflating = zlib.decompressobj(window_bits)
    decompressed = inflating.decompress(body, bytes_max + 1)
    if len(decompressed) <= bytes_max and not inflating.eof:
        raise EOFError("it ends too early")
    return decompressed


def _too_large(bytes_max: int) -> Refused:
    return Refused(413, f"The body is larger than {bytes_max} bytes.")
