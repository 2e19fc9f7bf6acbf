"""All that is wrong with an event, by the worker's own decoder; and what is accepted but surely not meant."""

from collections.abc import Iterator
from typing import Any

import msgspec

from aggregator.calls.stated_usage import KEYS
from ingest.decoding.shapes import events_in
from ingest.decoding.single import decode_message

# A line with more mistakes than this has been understood too little to list more.
MISTAKES_MAX = 20
# Calls whose starts are remembered, to tell ends without one; some 100 bytes each.
CALLS_REMEMBERED_MAX = 1_000_000

_GOOD: dict[str, object] = {
    "project_id": "project",
    "id": "id",
    "op_name": "op",
    "started_at": "2026-01-01T00:00:00Z",
    "ended_at": "2026-01-01T00:00:00Z",
    "summary": {},
}
_TOKENS = frozenset(KEYS) - {"input", "output", "requests"} | {"model", "usage", "tokens", "cost", "model_name"}
_BREAKDOWNS = ("_details", "_detail")  # of tokens that are counted already

_Fields = dict[str, Any]


def mistakes(value: bytes, now_us: int) -> list[str]:
    """Every reason why a worker would not take the message, as sentences; empty for one that it takes whole."""
    found: list[str] = []
    decoded = decode_message(value, now_us)
    while decoded.invalid and len(found) < MISTAKES_MAX:
        invalid = decoded.invalid[0]
        where = "" if invalid.position is None else f"event {invalid.position}: "
        found.append(f"{where}{invalid.message}")
        mended = _mended(value, invalid.field, invalid.position)
        if mended is None or mended == value:
            found += [f"event {other.position}: {other.message}" for other in decoded.invalid[1:]]
            break
        value = mended
        decoded = decode_message(value, now_us)
    return list(dict.fromkeys(found))[:MISTAKES_MAX]


class Doubts:
    """What is accepted but surely not meant, over all events of a file.

    `too_late` counts the events from before `oldest_us`, which workers refuse.
    """

    def __init__(self, oldest_us: int = 0) -> None:
        self.too_late = 0
        self._oldest_us = oldest_us
        self._started: set[tuple[str, str]] = set()
        self._ended: dict[tuple[str, str], int] = {}

    def about(self, value: bytes, line: int, now_us: int) -> list[str]:
        """Doubts about one message, which a worker takes."""
        for event in decode_message(value, now_us).events:
            call = (event.project_id, event.call_id)
            self.too_late += event.at_us < self._oldest_us
            if event.start is not None and len(self._started) < CALLS_REMEMBERED_MAX:
                self._started.add(call)
            elif event.start is None and len(self._ended) < CALLS_REMEMBERED_MAX:
                self._ended.setdefault(call, line)
            if event.start and event.end and event.end.ended_at_us < event.start.started_at_us:
                return ["it ends before it starts: its latency will not count", *_doubts(value)]
        return _doubts(value)

    def ends_without_start(self) -> list[int]:
        """The lines of ends whose start did not come: they count nothing until it does."""
        return sorted(line for call, line in self._ended.items() if call not in self._started)


def _doubts(value: bytes) -> list[str]:
    message = _json(value)
    found: list[str] = []
    for _, fields in events_in(message):
        found += _doubts_about(fields)
    return list(dict.fromkeys(found))


def _doubts_about(fields: _Fields) -> Iterator[str]:
    summary = fields.get("summary") if isinstance(fields.get("summary"), dict) else {}
    assert isinstance(summary, dict)
    for where, there in (("", fields), ("summary.", summary)):
        for name in sorted(_TOKENS & there.keys() - ({"usage"} if where else set())):
            yield f"`{where}{name}` is ignored: models and tokens count in `summary.usage`, by model"
    if not fields.get("exception"):
        for name in ("error", "status", "status_code"):
            if fields.get(name):
                yield f"`{name}` is ignored: only a text in `exception` is an error"
    usage = summary.get("usage")
    for model, stated in usage.items() if isinstance(usage, dict) else ():
        unknown = [key for key in stated if key not in KEYS and not key.endswith(_BREAKDOWNS)]
        for key in unknown:
            yield f"`{key}` in the usage of {model!r} is no name of a count, and is ignored"
        counts = [count for key, count in stated.items() if key in KEYS and key != "requests"]
        if not any(counts):
            yield f"the usage of {model!r} is all 0"


def _mended(value: bytes, field: str | None, position: int | None) -> bytes | None:
    """The message with the blamed field made good, so that the next mistake shows; None where that cannot be done."""
    message = _json(value)
    events = list(events_in(message))
    if field is None or not isinstance(message, dict) or (position is None and len(events) != 1):
        return None
    chosen = [fields for at, fields in events if at == position or position is None]
    if len(chosen) != 1:
        return None
    fields = chosen[0]
    if field in _GOOD:
        fields[field] = _GOOD[field]
    elif field in fields:
        del fields[field]
    elif not _without(fields.get("summary"), field):
        return None
    return msgspec.json.encode(message)


def _without(holder: object, field: str) -> bool:
    """Take the field out of the object, or of those in it; whether it was there."""
    if not isinstance(holder, dict):
        return False
    if field in holder:
        del holder[field]
        return True
    return any(_without(inner, field) for inner in holder.values())


def _json(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
