"""Reads spans out of OTLP's protobuf (`ExportTraceServiceRequest`, `TracesData`): only what a call needs.

A reader of the wire format for these few fields: the types that protobuf generates would decode prompts and answers
too, and cost more than the rest of a call's way together. The format: a key is field number × 8 + wire type, as a
varint; wire type 0 is a varint, 1 eight bytes, 2 a length and so many bytes, 5 four bytes.
"""

import struct
from collections.abc import Iterator

from ingest.decoding.otlp_names import places
from ingest.decoding.otlp_span import Attributes, Span, Value

# Field numbers of opentelemetry/proto/trace/v1/trace.proto as keys of the wire format.
_RESOURCE_SPANS = 0x0A  # also what the bytes of such a message begin with
_RESOURCE, _SCOPE_SPANS = 0x0A, 0x12
_SPANS = 0x12
_RESOURCE_ATTRIBUTES = 0x0A
_TRACE_ID, _SPAN_ID, _PARENT_ID, _NAME, _ATTRIBUTE, _STATUS = 0x0A, 0x12, 0x22, 0x2A, 0x4A, 0x7A
_STARTED, _ENDED = 0x39, 0x41
_STATUS_CODE = 0x18
_KEY, _VALUE = 0x0A, 0x12
_STRING, _BOOL, _INT, _DOUBLE = 0x0A, 0x10, 0x18, 0x21
_FAILED = 2

_WANTED = {name.encode(): name for name in places()}
_INT64_SIGN = 2**63
_VARINT_BYTES_MAX = 10
_fixed64 = struct.Struct("<Q").unpack_from
_double = struct.Struct("<d").unpack_from


class Malformed(ValueError):
    """The bytes are no such message; the message says why."""


class SpanBytes:
    """Where in a message one span lies, and what its resource says; `read` may raise Malformed for it alone."""

    __slots__ = ("_at", "_end", "_message", "resource")

    def __init__(self, message: bytes, at: int, end: int, resource: Attributes) -> None:
        self._message, self._at, self._end = message, at, end
        self.resource = resource

    def read(self) -> Span:
        """The span. Raises Malformed."""
        try:
            return _span(self._message, self._at, self._end)
        except (IndexError, struct.error, UnicodeDecodeError) as wrong:
            raise Malformed(f"the span is malformed: {wrong}") from None


def looks_like_protobuf(message: bytes) -> bool:
    """Whether the bytes are nothing but fields of number 1 one after the other, as of no JSON that begins with a line
    feed.
    """
    at, end = 0, len(message)
    try:
        while at < end:
            if message[at] != _RESOURCE_SPANS:
                return False
            size, at = _varint(message, at + 1)
            at += size
    except (IndexError, Malformed):
        return False
    return at == end > 0


def spans_in(message: bytes) -> Iterator[SpanBytes]:
    """The spans of a message, in order, of all its resources and scopes.

    Raises Malformed where it is malformed outside of a span; the spans before have been given by then.
    """
    try:
        for at, end in _parts(message, 0, len(message), _RESOURCE_SPANS):
            resource = _resource(message, at, end)
            for scope_at, scope_end in _parts(message, at, end, _SCOPE_SPANS):
                for span_at, span_end in _parts(message, scope_at, scope_end, _SPANS):
                    yield SpanBytes(message, span_at, span_end, resource)
    except (IndexError, struct.error, UnicodeDecodeError) as wrong:
        raise Malformed(f"the message is malformed: {wrong}") from None


def _resource(message: bytes, at: int, end: int) -> Attributes:
    attributes: dict[str, Value] = {}
    for part_at, part_end in _parts(message, at, end, _RESOURCE):
        for pair_at, pair_end in _parts(message, part_at, part_end, _RESOURCE_ATTRIBUTES):
            _add_attribute(attributes, message, pair_at, pair_end)
    return attributes


def _parts(message: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each field with this key, whose wire type is 2."""
    while at < end:
        key, at = _varint(message, at)
        if key == wanted:
            size, at = _varint(message, at)
            stop = at + size
            if stop > end:
                raise Malformed("a part is longer than the whole")
            yield at, stop
            at = stop
        else:
            at = _skip(message, at, key & 7)
    if at > end:
        raise Malformed("a part is longer than the whole")


def _span(message: bytes, at: int, end: int) -> Span:
    """One span. What numbers below 128 take is read in place: this loop runs some 25 times for each span."""
    attributes: dict[str, Value] = {}
    texts = {_TRACE_ID: b"", _SPAN_ID: b"", _PARENT_ID: b"", _NAME: b"", _STATUS: b""}
    times = {_STARTED: 0, _ENDED: 0}
    while at < end:
        key = message[at]
        at += 1
        if key == _ATTRIBUTE or key in texts:
            size = message[at]
            at += 1
            if size > 127:
                size, at = _varint(message, at - 1)
            stop = at + size
            if key != _ATTRIBUTE:
                texts[key] = message[at:stop]
            elif message[at] == _KEY and (key_size := message[at + 1]) < 128:
                value_at = at + 2 + key_size
                name = _WANTED.get(message[at + 2 : value_at])
                if name is not None:
                    _add_value(attributes, name, message, value_at, stop)
            else:
                _add_attribute(attributes, message, at, stop)
            at = stop
        elif key in times:
            times[key] = _fixed64(message, at)[0]
            at += 8
        elif key > 127:
            key, at = _varint(message, at - 1)
            at = _skip(message, at, key & 7)
        else:
            at = _skip(message, at, key & 7)
    if at != end:
        raise Malformed("a part of the span is longer than the span")
    trace_id, span_id, parent_id = _hex(texts[_TRACE_ID], 16), _hex(texts[_SPAN_ID], 8), _hex(texts[_PARENT_ID], 8)
    status = texts[_STATUS]
    failed = bool(status) and _status_code(status, 0, len(status)) == _FAILED
    return Span(trace_id, span_id, parent_id, texts[_NAME].decode(), times[_STARTED], times[_ENDED], failed, attributes)


def _add_attribute(attributes: dict[str, Value], message: bytes, at: int, end: int) -> None:
    """A key and its value in any order, as protobuf allows."""
    name = None
    values = []
    for key_at, key_end in _parts(message, at, end, _KEY):
        name = _WANTED.get(message[key_at:key_end])
    if name is not None:
        for value_at, value_end in _parts(message, at, end, _VALUE):
            values.append((value_at, value_end))
        for value_at, value_end in values[-1:]:
            _set(attributes, name, message, value_at, value_end)


def _add_value(attributes: dict[str, Value], name: str, message: bytes, at: int, end: int) -> None:
    """A value whose key stood before it: a part with the key _VALUE, up to `end`."""
    if at >= end:
        return
    if message[at] != _VALUE:
        raise Malformed("an attribute holds more than its key and value")
    size = message[at + 1]
    at += 2
    if size > 127:
        size, at = _varint(message, at - 1)
    if at + size > end:
        raise Malformed("a value is longer than its attribute")
    _set(attributes, name, message, at, at + size)


def _set(attributes: dict[str, Value], name: str, message: bytes, at: int, end: int) -> None:
    """Text, a number or a truth; lists, maps and bytes say nothing here."""
    if at >= end:
        return
    key = message[at]
    at += 1
    if key == _STRING:
        size = message[at]
        at += 1
        if size > 127:
            size, at = _varint(message, at - 1)
        if at + size > end:
            raise Malformed("a text is longer than its value")
        attributes[name] = message[at : at + size].decode()
    elif key == _INT:
        number = message[at]
        if number > 127:
            number, _ = _varint(message, at)
        attributes[name] = number - 2 * _INT64_SIGN if number >= _INT64_SIGN else number
    elif key == _DOUBLE:
        attributes[name] = _double(message, at)[0]
    elif key == _BOOL:
        attributes[name] = bool(message[at])


def _status_code(message: bytes, at: int, end: int) -> int:
    code = 0
    while at < end:
        key, at = _varint(message, at)
        if key == _STATUS_CODE:
            code, at = _varint(message, at)
        else:
            at = _skip(message, at, key & 7)
    return code


def _hex(identity: bytes, size: int) -> str:
    """An id in hexadecimal, "" for an absent one, which is also written as zeros."""
    if not identity or not any(identity):
        return ""
    if len(identity) != size:
        raise Malformed(f"an id has {len(identity)} bytes, not {size}")
    return identity.hex()


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    for position in range(at, at + _VARINT_BYTES_MAX):
        byte = message[position]
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (2 * _INT64_SIGN - 1), position + 1
        shift += 7
    raise Malformed("a number is longer than ten bytes")


def _skip(message: bytes, at: int, wire_type: int) -> int:
    if wire_type == 0:
        return _varint(message, at)[1]
    if wire_type == 1:
        return at + 8
    if wire_type == 2:
        size, at = _varint(message, at)
        return at + size
    if wire_type == 5:
        return at + 4
    raise Malformed(f"there is no wire type {wire_type} in it")
