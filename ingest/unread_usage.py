"""Looks at usage that no count of tokens was found in for the names that stand there: once for each model."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from aggregator.calls.event import Event
from aggregator.layout.unread import NAME_CHARACTERS_MAX, NAMES_MAX, ProjectModel
from aggregator.store.shard_store import ShardStore
from ingest.decoding.shapes import events_in

# Looked for by one worker; then it looks no more. A look decodes the messages of a step once more.
MODELS_LOOKED_FOR_MAX = 1_000
# Of a step; a larger message is a whole batch, and not decoded again for a sample.
VALUE_BYTES_MAX = 256 * 2**10


class UnreadUsage:
    """What one worker has looked for, by shard, project and model."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()

    def look(self, store: ShardStore, events: Sequence[Event], values: Sequence[bytes | None]) -> None:
        """Note the names in usage without counts, of models that are new; `values`: the messages of the events."""
        tag = store.shard.tag
        wanted = {
            (event.project_id, model)
            for event in events
            if event.end is not None
            for model, counts in event.end.usage.items()
            if not counts.is_read and (tag, event.project_id, model) not in self._known
        }
        if not wanted or len(self._known) >= MODELS_LOOKED_FOR_MAX:
            return
        self._known.update((tag, *which) for which in wanted)
        if found := names_of(values, wanted):
            store.note_unread(found)


def names_of(values: Sequence[bytes | None], wanted: set[ProjectModel]) -> dict[ProjectModel, list[str]]:
    """The names in the usage of these models, in JSON messages of events; values under them are left alone."""
    found: dict[ProjectModel, list[str]] = {}
    for value in values:
        if len(found) == len(wanted):
            break
        if value is None or len(value) > VALUE_BYTES_MAX:
            continue
        try:
            message = msgspec.json.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        for project_id, usage in _usages(message):
            for model, stated in usage.items():
                which = (project_id, model)
                if which in wanted and which not in found and isinstance(stated, dict):
                    found[which] = [name[:NAME_CHARACTERS_MAX] for name in list(stated)[:NAMES_MAX]]
    return found


def _usages(message: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The project and the usage of each event in a message."""
    for _, event in events_in(message):
        summary = event.get("summary")
        usage = summary.get("usage") if isinstance(summary, dict) else None
        if isinstance(usage, dict) and isinstance(event.get("project_id"), str):
            yield event["project_id"], usage
