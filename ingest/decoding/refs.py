"""Finds the refs in a call's inputs or output without decoding them: they can be megabytes and are never stored."""

import re
from collections.abc import Collection, Sequence

import msgspec
import numpy as np

# A ref is a URI of an object version; Weave's own have some 200 bytes. A longer one would have to be stored whole
# for filters to find it, so it makes its event invalid rather than being cut.
REF_BYTES_MAX = 4096
# Distinct refs of the inputs, or of the output, of one call: each is looked up and written by itself.
REFS_OF_CALL_MAX = 10_000
# All of these together: Redis stands still while it stores them.
REFS_BYTES_OF_CALL_MAX = 2**20

_PREFIXES = ("weave:///", "weave-trace-internal:///", "wandb-artifact:///")

_Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]

# Values that are searched at once: what the search keeps for them stays in a processor's cache, and is no larger than
# what the allocator has at hand. From 256 KiB on it takes three times as long.
_PIECE_BYTES = 2**17
# Behind the last value, so that the two bytes after any quote can be looked at.
_END = b"  "
_QUOTE, _W, _BACKSLASH, _U = b'"w\\u'


def _spellings(character: str) -> str:
    r"""A pattern for the character in a JSON string: itself, `\u0077`, and `\/` for the slash."""
    solidus = r"|\\/" if character == "/" else ""
    return rf"(?:{re.escape(character)}|(?i:\\u{ord(character):04x}){solidus})"


# A JSON string that begins with a prefix and is no key. A quote that opens a string never follows a backslash, an
# escaped one always does, and one that closes a string is never followed by `w` or a backslash. All else is left at
# the second character, so that searching costs about half a nanosecond per byte.
_REF_STRING = re.compile(
    (
        r'"(?=[w\\])(?<!\\")(?:' + "|".join("".join(map(_spellings, prefix)) for prefix in _PREFIXES) + ")"
        r'[^"\\]*+(?:\\.[^"\\]*+)*+"(?![ \t\r\n]*+:)'
    ).encode()
)

_decode_text = msgspec.json.Decoder(str).decode


def refs_in(value: bytes | msgspec.Raw) -> tuple[str, ...]:
    """The refs among the strings of one JSON value, keys of objects excepted; each once, in order of appearance.

    `value` must be valid JSON, or empty. Raises ValueError beyond the limits.
    """
    if _REF_STRING.search(value) is None:
        return ()
    refs: dict[str, None] = {}
    for token in _REF_STRING.finditer(bytes(value)):
        refs[_ref(token[0])] = None
        _check_number(refs)
    return _checked_size(refs)


def refs_in_each(values: Sequence[bytes | msgspec.Raw]) -> list[tuple[str, ...]]:
    """Return what `refs_in` finds in each value, in about half of its time.

    Raises ValueError or msgspec.DecodeError where `refs_in` does for one of them.
    """
    sizes = np.fromiter(map(len, values), np.int64, len(values)) + 1
    ends = sizes.cumsum()
    found: list[tuple[str, ...]] = []
    while len(found) < len(values):
        first = len(found)
        begin = ends[first] - sizes[first]
        after = max(first + 1, int(ends.searchsorted(begin + _PIECE_BYTES, "right")))
        found += _refs_in_piece(values[first:after], ends[first:after] - begin)
    return found


def _refs_in_piece(values: Sequence[bytes | msgspec.Raw], ends: _Numbers) -> list[tuple[str, ...]]:
    """`ends`: where each value ends in all of them joined, with the byte that follows it."""
    piece = b",".join((*values, _END))
    begins = _quotes_to_look_at(piece)
    known: dict[bytes, str] = {}
    found: list[tuple[str, ...]] = [()] * len(values)
    several: dict[int, dict[str, None]] = {}
    for begin, position in zip(begins.tolist(), ends.searchsorted(begins, "right").tolist(), strict=True):
        # Most refs come again and again: what was one before is one wherever it is a whole string and no key.
        after = piece.find(b'"', begin + 1) + 1
        ref = known.get(piece[begin:after])
        if ref is None or piece[after] not in b",]}" or piece[begin - 1] == _BACKSLASH:
            match = _REF_STRING.match(piece, begin)
            if match is None:
                continue
            ref = known[match[0]] = _ref(match[0])
        if found[position]:
            refs = several.setdefault(position, dict.fromkeys(found[position]))
            refs[ref] = None
            _check_number(refs)
        else:
            found[position] = (ref,)
    for position, refs in several.items():
        found[position] = _checked_size(refs)
    return found


def _quotes_to_look_at(piece: bytes) -> _Numbers:
    """Return where a quote is followed by what a ref may begin with: `w`, or its escape."""
    characters = np.frombuffer(piece, np.uint8)
    second = characters[1:]
    begins = ((characters[:-1] == _QUOTE) & ((second == _W) | (second == _BACKSLASH))).nonzero()[0]
    looked_at: _Numbers = begins[(second[begins] == _W) | (characters[begins + 2] == _U)]
    return looked_at


def _check_number(refs: Collection[str]) -> None:
    if len(refs) > REFS_OF_CALL_MAX:
        raise ValueError(f"it holds more than {REFS_OF_CALL_MAX:,} refs")


def _checked_size(refs: Collection[str]) -> tuple[str, ...]:
    if sum(map(len, refs)) > REFS_BYTES_OF_CALL_MAX:
        raise ValueError(f"its refs come to more than {REFS_BYTES_OF_CALL_MAX:,} characters")
    return tuple(refs)


def _ref(token: bytes) -> str:
    ref = _decode_text(token)
    if len(ref) * 4 > REF_BYTES_MAX and len(ref.encode()) > REF_BYTES_MAX:
        raise ValueError(f"a ref is longer than {REF_BYTES_MAX} bytes")
    return ref
