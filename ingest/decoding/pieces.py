"""Large messages in pieces that are decoded and folded one after the other, so that memory stays bounded whatever a
message holds: a batch of ten million elements is a few kilobytes on its way, and gigabytes once it is decoded whole.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from ingest.decoding.invalid_event import InvalidEvent
from ingest.decoding.prefix import without_prefix
from ingest.message_size import MESSAGE_BYTES_MAX

# A message up to this size, or up to the next with few commas, is decoded at once.
SMALL_BYTES_MAX = 256 * 2**10
SMALL_COMMAS_MAX = 20_000
# One piece: what it becomes when it is decoded and folded takes some 100 MB.
PIECE_ELEMENTS_MAX = 10_000
PIECE_BYTES_MAX = 4 * 2**20
# Of one message. What is no event takes up to 50 µs to be told why, so this is some seconds for which others wait.
MESSAGE_ELEMENTS_MAX = 200_000
# Of one call: what it says of its usage takes fifty times as much memory while it is decoded.
USAGE_BYTES_MAX = 2 * 2**20

_SCANNED_BYTES = 2**20
_BACKSLASH, _QUOTE, _COMMA = b'\\",'
_BATCH = re.compile(rb'\s*+\{\s*+"batch"\s*+:\s*+\[')
_OPEN, _CLOSE = b'{"batch":[', b"]}"
_ABSENT = msgspec.Raw(b"")
_Positions = np.ndarray[tuple[int], np.dtype[np.int64]]
_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


class Piece(NamedTuple):
    """A part of a batch that is a message by itself, and where its elements stand: from `first` up to `end`.

    `invalid`: what stands for it where it is not decoded.
    """

    first: int
    end: int
    value: bytes
    invalid: InvalidEvent | None = None


def no_elements(at: int) -> Piece:
    """A piece without any."""
    return Piece(at, at, _OPEN + _CLOSE)


class _Fields(msgspec.Struct):
    summary: msgspec.Raw = _ABSENT


class _Message(_Fields):
    start: msgspec.Raw = _ABSENT
    end: msgspec.Raw = _ABSENT
    complete: msgspec.Raw = _ABSENT
    mode: msgspec.Raw = _ABSENT
    req: msgspec.Raw = _ABSENT
    batch: msgspec.Raw = _ABSENT


class _Summary(msgspec.Struct):
    usage: msgspec.Raw = _ABSENT


def is_large(value: bytes | None) -> bool:
    """Whether a message must be taken in pieces."""
    if value is None or len(value) <= SMALL_BYTES_MAX:
        return False
    return len(value) > PIECE_BYTES_MAX or value.count(b",") > SMALL_COMMAS_MAX


def pieces_of(value: bytes, from_element: int = 0) -> Iterator[Piece]:
    """The pieces of a large message, without those before an element; at least one. Never raises."""
    if len(value) > MESSAGE_BYTES_MAX:
        yield _refused(0, f"the message has {len(value):,} bytes, more than {MESSAGE_BYTES_MAX:,}")
        return
    value = without_prefix(value)
    try:
        message = _message(value)
    except RecursionError:
        yield _refused(0, f"the message is nested too deeply for one of more than {SMALL_BYTES_MAX:,} bytes")
        return
    except (ValueError, msgspec.DecodeError):
        yield from _pieces_of_broken(value, from_element)
        return
    array = bytes(message.batch)
    if not array.startswith(b"["):
        yield _alone(0, value, message)
    elif any(map(len, (message.start, message.end, message.complete, message.mode))):
        yield Piece(0, 1, b'{"mode":"start","batch":[]}')  # which is as wrong in the same way
    else:
        yield from _pieces_of_array(array, from_element)


def _pieces_of_array(array: bytes, from_element: int) -> Iterator[Piece]:
    for first, end, text in _split(array):
        if first >= MESSAGE_ELEMENTS_MAX:
            yield _refused(first, f"the batch has more than {MESSAGE_ELEMENTS_MAX:,} elements")
            return
        if end > from_element or first == end:
            value = _OPEN + text + _CLOSE
            yield _alone(first, value, None) if len(text) > PIECE_BYTES_MAX else Piece(first, end, value)


def _pieces_of_broken(value: bytes, from_element: int) -> Iterator[Piece]:
    """The pieces of what is no JSON as a whole: of a batch some items may be, as when one of them holds a NaN."""
    batch = _BATCH.match(value)
    if batch is None:
        yield Piece(0, 1, value)  # decoding it says what is wrong
    elif not (whole := value.rstrip()).endswith(b"}") or not whole[:-1].rstrip().endswith(b"]"):
        yield Piece(0, 2**62, b"", InvalidEvent("json", None, "the message is not JSON: the batch has no end", None))
    else:
        yield from _pieces_of_array(whole[batch.end() - 1 : -1].rstrip(), from_element)


def _message(value: bytes) -> _Message:
    return msgspec.json.decode(value, type=_Message)


def _alone(first: int, value: bytes, message: _Message | None) -> Piece:
    """One event, large as it is, unless what it says of its usage would take too much memory."""
    try:
        found = message or _message(value[len(_OPEN) : -len(_CLOSE)])
        for part in (found, found.req, found.start, found.end, found.complete):
            fields = part if isinstance(part, _Fields) else _fields(bytes(part))
            usage = _usage_bytes(bytes(fields.summary))
            if usage > USAGE_BYTES_MAX:
                return _refused(first, f"its usage has {usage:,} bytes, more than {USAGE_BYTES_MAX:,}")
    except (ValueError, msgspec.DecodeError, RecursionError):
        pass  # decoding it says what is wrong
    return Piece(first, first + 1, value)


def _fields(text: bytes) -> _Message:
    found = msgspec.json.decode(text, type=_Message) if text.startswith(b"{") else _Message()
    for inner in (found.start, found.end, found.complete):
        if bytes(inner).startswith(b"{"):
            return msgspec.json.decode(inner, type=_Message)
    return found


def _usage_bytes(summary: bytes) -> int:
    return len(msgspec.json.decode(summary, type=_Summary).usage) if summary.startswith(b"{") else 0


def _refused(first: int, why: str) -> Piece:
    return Piece(first, 2**62, b"", InvalidEvent("too_large", None, why, first or None))


def _split(array: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Pieces of a JSON array: the numbers of their first elements and of those after their last, and their text."""
    begin, first, count, last = 1, 0, 0, 1
    for commas in _commas(array):
        at = 0
        while at < len(commas):
            fitting = int(commas[at:].searchsorted(begin + PIECE_BYTES_MAX, "right"))
            take = min(fitting, PIECE_ELEMENTS_MAX - count)
            if not take and count:
                yield first, first + count, array[begin:last]
                begin, first, count = last + 1, first + count, 0
                continue
            take = max(take, 1)  # one that is too large for a piece is one by itself
            last, count, at = int(commas[at + take - 1]), count + take, at + take
            if count == PIECE_ELEMENTS_MAX or last - begin > PIECE_BYTES_MAX:
                yield first, first + count, array[begin:last]
                begin, first, count = last + 1, first + count, 0
    end = array.rindex(b"]")
    if count and end - begin > PIECE_BYTES_MAX:
        yield first, first + count, array[begin:last]
        begin, first, count = last + 1, first + count, 0
    is_empty = not count and not array[begin:end].strip()
    yield first, first + count + (not is_empty), array[begin:end]


def _commas(array: bytes) -> Iterator[_Positions]:
    """Yield where the elements of a JSON array end, but for the last, a part of the array at a time."""
    depth, in_string, is_escaped = 0, False, False
    for begin in range(0, len(array), _SCANNED_BYTES):
        scanned = np.frombuffer(array, np.uint8, min(_SCANNED_BYTES, len(array) - begin), begin)
        escaped, is_escaped = _escaped(scanned, is_escaped)
        quotes = (scanned == _QUOTE) & ~escaped
        inside = np.logical_xor.accumulate(quotes) ^ in_string
        outside = ~(inside | quotes)
        opens = ((scanned == ord("[")) | (scanned == ord("{"))) & outside
        closes = ((scanned == ord("]")) | (scanned == ord("}"))) & outside
        depths = np.cumsum(opens.astype(np.int32) - closes.astype(np.int32)) + depth
        yield ((scanned == _COMMA) & outside & (depths == 1)).nonzero()[0] + begin
        depth, in_string = int(depths[-1]), bool(inside[-1])


def _escaped(scanned: _Bytes, is_first: bool) -> tuple[_Flags, bool]:
    """Return which characters follow a backslash that escapes them, and whether the one after the last of these is."""
    escaped = np.zeros(len(scanned), np.bool_)
    escaped[0] = is_first
    slashes = (scanned == _BACKSLASH).nonzero()[0]
    if is_first and len(slashes) and slashes[0] == 0:
        slashes = slashes[1:]
    if not len(slashes):
        return escaped, False
    # In a run of backslashes the first, the third, ... escape what follows them.
    run_begins = np.concatenate(([True], np.diff(slashes) != 1))
    numbers = np.arange(len(slashes))
    in_run = numbers - np.maximum.accumulate(np.where(run_begins, numbers, 0))
    escaping = slashes[in_run % 2 == 0]
    escaped[escaping[escaping + 1 < len(scanned)] + 1] = True
    return escaped, bool(len(escaping) and escaping[-1] + 1 == len(scanned))
