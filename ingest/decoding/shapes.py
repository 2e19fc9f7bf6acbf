"""The shapes in which an event stands in a message: `{"start": …}`, `{"mode": "start", "req": {"start": …}}`, a batch.

Which of them counts, and why another does not, `exact` decides. `typed`, `fast` and `ingest.kafka.message_key` declare
for msgspec the part that each reads, and tests hold them against it; what only looks into messages uses `events_in`.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

Kind = Literal["start", "end", "complete"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def events_in(message: Any) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """The fields of what may be an event in a decoded message, each with its position where the message is a batch.

    Takes anything, and yields what a reader of the message would take for an event, valid or not.
    """
    if not isinstance(message, dict):
        return
    if isinstance(message.get("batch"), list):
        for position, element in enumerate(message["batch"]):
            yield from ((position, fields) for _, fields in events_in(element))
        return
    holder = message["req"] if isinstance(message.get("req"), dict) else message
    named = [holder[kind] for kind in KINDS if isinstance(holder.get(kind), dict)]
    yield from ((None, fields) for fields in named or [holder])
