"""JSON that msgspec does not read, made readable: lone surrogates, nesting without bound, and NaN, which is no JSON."""

import re
from collections.abc import Iterator

import msgspec

# Far below every interpreter's recursion limit, far above the depth of any field that is read.
DEPTH_MAX = 100

_HEX = rb"[0-9a-fA-F]"
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB]%(hex)b{2}\\u[dD][c-fC-F]%(hex)b{2}|(\\u[dD][89a-fA-F]%(hex)b{2})|\\." % {b"hex": _HEX}
)
_TOKEN = re.compile(
    rb"[ \t\r\n]*+("
    rb'[][{}:,]|"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u%(hex)b{4})[^"\\\x00-\x1f]*+)*+"'
    rb"|true|false|null|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+)" % {b"hex": _HEX}
)
# What may come next: a token's first byte, `0` for all that are no string and no punctuation.
_VALUE, _VALUE_OR_CLOSER = frozenset(b'{["0'), frozenset(b'{["0]')
_KEY, _KEY_OR_CLOSER = frozenset(b'"'), frozenset(b'"}')
_COLON, _COMMA_OR_CLOSER, _NOTHING = frozenset(b":"), frozenset(b",]}"), frozenset(b"")
_OPENER, _CLOSER, _PUNCTUATION, _QUOTE = frozenset(b"[{"), frozenset(b"]}"), frozenset(b'[]{},:"'), ord('"')

_STRING_OR_NO_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(-?Infinity|NaN)', re.DOTALL)


def mark_unreadable(message: bytes) -> tuple[bytes, bytes]:
    """The message with a mark, a JSON string that is nowhere else in it, for each part that is no JSON in UTF-8.

    Such parts are NaN, Infinity and -Infinity, as many languages write them, and strings of another encoding. The mark
    is empty where there are none. What else may be wrong is left alone.
    """
    number = 0
    while b"not JSON %d" % number in message:
        number += 1
    mark = b'"not JSON %d"' % number
    marked = _STRING_OR_NO_NUMBER.sub(lambda match: mark if _is_unreadable(match) else match[0], message)
    return marked, mark if mark in marked else b""


def unreadable_parts(message: bytes) -> Iterator[bytes]:
    """The parts of a message that `mark_unreadable` puts its mark in the place of, in order."""
    return (match[0] for match in _STRING_OR_NO_NUMBER.finditer(message) if _is_unreadable(match))


def _is_unreadable(match: re.Match[bytes]) -> bool:
    return match[1] is not None or not _is_utf_8(match[0])


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def readable_json(message: bytes) -> bytes:
    """The message, or one that says the same as far as events go; raises ValueError when it is not JSON.

    `message` must be UTF-8. An escaped lone surrogate, which no UTF-8 text can hold, becomes U+FFFD. Where nesting is
    too deep to be decoded, what is deeper than DEPTH_MAX keeps only its strings (refs are among them), without keys.
    """
    if b"\\ud" in message or b"\\uD" in message:
        message = _without_lone_surrogates(message)
    try:
        msgspec.json.decode(message, type=msgspec.Raw)
    except RecursionError:
        return flatten(message)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    return message


def flatten(message: bytes) -> bytes:
    """Return the JSON with any array or object deeper than DEPTH_MAX as an array of all strings it holds, and a null.

    Goes by tokens, without recursion. Raises ValueError when the message is not JSON.
    """
    pieces = bytearray()  # a token as an object takes ten times its bytes
    closers = bytearray()
    expected = _VALUE
    at = 0
    while expected:
        match = _TOKEN.match(message, at)
        first = match[1][0] if match else 0
        kind = first if first in _PUNCTUATION else ord("0")
        if match is None or kind not in expected or (kind in _CLOSER and kind != closers[-1]):
            raise ValueError(f"JSON is malformed after byte {at}")
        at = match.end()
        token = match[1]
        is_key = expected is _KEY or expected is _KEY_OR_CLOSER
        if kind in _OPENER:
            closers.append(kind + 2)  # in ASCII, `]` and `}` are two after `[` and `{`
            token = token if len(closers) <= DEPTH_MAX else b"[" if len(closers) == DEPTH_MAX + 1 else b""
        elif kind in _CLOSER:
            closers.pop()
            token = token if len(closers) < DEPTH_MAX else b"null]" if len(closers) == DEPTH_MAX else b""
        elif len(closers) > DEPTH_MAX:
            token = token + b"," if kind == _QUOTE and not is_key else b""
        pieces += token
        expected = _next(kind, is_key, closers)
    if message[at:].strip(b" \t\r\n"):
        raise ValueError(f"JSON is malformed after byte {at}")
    return bytes(pieces)


def _without_lone_surrogates(message: bytes) -> bytes:
    """The message with U+FFFD for each; built as bytes, since a substitution keeps an object for each escape."""
    replaced, begin = bytearray(), 0
    for match in _ESCAPE.finditer(message):
        if match[1]:
            replaced += message[begin : match.start()] + rb"\ufffd"
            begin = match.end()
    return bytes(replaced + message[begin:])


def _next(kind: int, is_key: bool, closers: bytearray) -> frozenset[int]:
    if kind in _OPENER:
        return _KEY_OR_CLOSER if kind == ord("{") else _VALUE_OR_CLOSER
    if kind == ord(","):
        return _KEY if closers[-1] == ord("}") else _VALUE
    if kind == ord(":"):
        return _VALUE
    if is_key and kind == _QUOTE:
        return _COLON
    return _COMMA_OR_CLOSER if closers else _NOTHING
