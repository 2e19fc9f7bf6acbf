"""Which key an event's message gets, so that a call's start and end, and a trace's calls, share a partition.

Only what a key needs is decoded here: the worker checks the rest.
"""

from typing import Literal, NamedTuple, TypeVar

import msgspec

KeyedBy = Literal["project", "trace"]

# Calls whose key is remembered for their end: some 60 MB. The calls of an hour at 50 starts per second.
CALLS_REMEMBERED_MAX = 200_000


class NoEvent(ValueError):
    """A line is no event that could be keyed; the message says why."""


class KeyedMessage(NamedTuple):
    """A message ready to be sent."""

    key: str
    value: bytes


class _Ids(msgspec.Struct, gc=False):
    project_id: str
    id: str
    trace_id: str | None = None


class _Body(msgspec.Struct):
    """An event, or what stands in `req` or in a batch; there, the three ids may stand bare."""

    start: _Ids | None = None
    end: _Ids | None = None
    complete: _Ids | None = None
    project_id: str | None = None
    id: str | None = None
    trace_id: str | None = None


class _Event(_Body):
    req: _Body | None = None
    batch: list[msgspec.Raw] | None = None


class _Line(_Event):
    key: str | None = None
    value: msgspec.Raw = msgspec.Raw()


_AnyEvent = TypeVar("_AnyEvent", bound=_Event)

_LINE = msgspec.json.Decoder(_Line)
_EVENT = msgspec.json.Decoder(_Event)


class MessageKeys:
    """Turns lines into keyed messages; by trace it remembers the keys of starts, since an end need not name its trace.

    `guessed` counts ends that name no trace and whose start was not seen: they are keyed by their call's id.
    """

    def __init__(self, keyed_by: KeyedBy, calls_remembered_max: int = CALLS_REMEMBERED_MAX) -> None:
        self.keyed_by = keyed_by
        self.guessed = 0
        self._calls_remembered_max = calls_remembered_max
        self._key_of_call: dict[tuple[str, str], str] = {}

    def messages(self, line: bytes) -> list[KeyedMessage]:
        """The messages of one line: an event, `{"key": ..., "value": event}`, or a batch, whose events go one by one.

        A line's own key is kept, for a whole batch too. Raises NoEvent for a line that is none of these; no part of it
        counts then.
        """
        outer = _decode(_LINE, line)
        event: _Event = outer
        if value := bytes(outer.value):
            line, event = value, _decode(_EVENT, value)
        if outer.key is not None and value:
            if event.batch is None:
                _ids(event)
            return [KeyedMessage(outer.key, line)]
        if event.batch is None:
            return [KeyedMessage(self._key(event), line)]
        return [self._from_batch(bytes(part)) for part in event.batch]

    def _from_batch(self, part: bytes) -> KeyedMessage:
        event = _decode(_EVENT, part)
        if event.project_id is not None and not (event.start or event.end or event.complete or event.req):
            part = b'{"complete":' + part + b"}"  # bare, it is an event only inside a batch
            event = _decode(_EVENT, part)
        return KeyedMessage(self._key(event), part)

    def _key(self, event: _Event) -> str:
        begins, ids = _ids(event)
        if self.keyed_by == "project":
            return ids.project_id
        call = (ids.project_id, ids.id)
        key = self._key_of_call.get(call)
        if key is None:
            key = ids.trace_id or ids.id  # an empty trace is none: the decoder says so too
            if begins:
                self._remember(call, key)
            elif not ids.trace_id:
                self.guessed += 1
        return key

    def _remember(self, call: tuple[str, str], key: str) -> None:
        if len(self._key_of_call) >= self._calls_remembered_max:
            del self._key_of_call[next(iter(self._key_of_call))]
        self._key_of_call[call] = key


def _ids(event: _Event) -> tuple[bool, _Ids]:
    """Whether the event begins its call, and the ids it names. Raises NoEvent where it has none."""
    body = event.req or event
    begun = body.start or body.complete
    if begun is None and event.req is not None and body.project_id is not None and body.id is not None:
        begun = _Ids(body.project_id, body.id, body.trace_id)
    if begun is not None:
        return True, begun
    if body.end is None:
        raise NoEvent("is not an event: it has no start, end, complete or batch")
    return False, body.end


def _decode(decoder: "msgspec.json.Decoder[_AnyEvent]", text: bytes) -> "_AnyEvent":
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as wrong:
        raise NoEvent(f"is not an event: {wrong}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
        raise NoEvent(f"is not JSON: {wrong}") from None
