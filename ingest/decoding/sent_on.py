"""Messages of events that the worker of another partition has sent on: read, and checked as a producer's are.

Anybody who may write to the topic may write one; what no worker sends is no event.
"""

from collections.abc import Iterable

import msgspec

from aggregator.calls.error_text import ERROR_BYTES_MAX
from aggregator.calls.event import Event, UsageCounts
from aggregator.calls.stated_usage import COUNT_MAX, MODEL_CHARACTERS_MAX, MODELS_OF_CALL_MAX
from aggregator.layout.event_text import decode_event, encode_event
from ingest.decoding.refs import REF_BYTES_MAX, REFS_OF_CALL_MAX
from ingest.decoding.typed import EARLIEST_US, ID_BYTES_MAX, OP_NAME_BYTES_MAX

_BEGINNING = b'{"sent_on":'
# A count may be a sum of what a producer states under up to three names.
_SUMMED_MAX = 3 * COUNT_MAX
_TOTAL_MAX = 2 * _SUMMED_MAX


def write_sent_on(event: Event) -> bytes:
    """Return the value of the message by which an event is sent on."""
    return _BEGINNING + encode_event(event) + b"}"


def read_sent_on(value: bytes | None, latest_us: int) -> Event | None:
    """Return the event of such a message; None where it is another message, or what no worker sends.

    Instants over `latest_us` are invalid.
    """
    if value is None or not value.startswith(_BEGINNING):
        return None
    try:
        event = decode_event(value[len(_BEGINNING) : -1])
    except (ValueError, msgspec.DecodeError):
        return None
    return event if _is_sound(event, latest_us) else None


def _is_sound(event: Event, latest_us: int) -> bool:
    start, end = event.start, event.end
    if start is None and end is None:
        return False
    ids: list[str | None] = [event.project_id, event.call_id]
    instants_us: list[int] = []
    refs: list[tuple[str, ...]] = []
    if start is not None:
        ids += [start.trace_id, start.parent_id, start.thread_id, start.turn_id, start.user_id, start.run_id]
        instants_us.append(start.started_at_us)
        refs.append(start.input_refs)
        if "" in (start.trace_id, start.parent_id) or not _fit([start.op_name], OP_NAME_BYTES_MAX):
            return False
        if start.model is not None and len(start.model) > MODEL_CHARACTERS_MAX:
            return False
    if end is not None:
        instants_us.append(end.ended_at_us)
        refs.append(end.output_refs)
        if len(end.usage) > MODELS_OF_CALL_MAX or not _fit([end.error], ERROR_BYTES_MAX):
            return False
        if any(len(model) > MODEL_CHARACTERS_MAX for model in end.usage) or not all(map(_counts, end.usage.values())):
            return False
    return (
        _fit(ids, ID_BYTES_MAX)
        and all(EARLIEST_US <= at_us <= latest_us for at_us in instants_us)
        and all(len(some) <= REFS_OF_CALL_MAX and _fit(some, REF_BYTES_MAX) for some in refs)
    )


def _counts(counts: UsageCounts) -> bool:
    return all(0 <= count <= _TOTAL_MAX for count in counts[:7])


def _fit(texts: Iterable[str | None], bytes_max: int) -> bool:
    return all(text is None or len(text.encode()) <= bytes_max for text in texts)
