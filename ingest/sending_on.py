"""Events whose call another shard of the topic holds are sent on to that shard's partition: no end stays without its
start, and nothing counts twice, whatever partition a message came through. docs/kafka.md says why this is exact.

Usually nothing is asked: a keyed message is where its call is. Asked are an end whose start is not here, and a start
that may have come before through another partition: its message has no key, or it began before partitions were added.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from aggregator.calls.event import Event
from aggregator.calls.packed_id import pack_id
from aggregator.store.elsewhere import Elsewhere
from aggregator.time_units import MINUTE_US, SECOND_US
from aggregator.writing.shard import Shard

# How far a producer's clock may be ahead of the instant at which partitions were added, and how late it notices them.
GROWN_SLACK_US = 60 * MINUTE_US
# A waiting end is looked for again after a second, then after twice as long each time, up to a minute.
LOOK_US_MIN, LOOK_US_MAX = SECOND_US, 60 * SECOND_US
LOOKED_FOR_MAX = 1_000

SendOn = Callable[[list[tuple[int, Event]]], None]
"""Sends events to partitions of the same topic, and returns when they are there."""


class KeptEvents(NamedTuple):
    """Events that are folded here; how many were sent on; how many starts were dropped, as another shard has them."""

    events: list[Event]
    sent_on: int = 0
    duplicates: int = 0


class SendingOn:
    """What one partition's folding needs to know of the others.

    `grown_us`: when the topic last got more partitions. `send_on` delivers.
    """

    def __init__(self, elsewhere: Elsewhere, send_on: SendOn, partitions: int, grown_us: int) -> None:
        self.partitions = partitions
        self.grown_us = grown_us
        self._elsewhere = elsewhere
        self._send_on = send_on
        self._next_look_us: dict[bytes, tuple[int, int]] = {}  # of waiting ends: when, and how long after the last

    def keep_own(self, shard: Shard, events: list[Event], are_keyed: bool) -> KeptEvents:
        """Send on what belongs elsewhere, and return the rest."""
        if self.partitions <= 1:
            return KeptEvents(events)
        homes = self._homes_of_starts(shard, events, are_keyed)
        here = {(event.project_id, event.call_id) for event in events if event.start is not None} - homes.keys()
        homes |= self._homes_of_ends(shard, [event for event in events if event.start is None], here)
        if not homes:
            return KeptEvents(events)
        own, others, duplicates = [], [], 0
        for event in events:
            home = homes.get((event.project_id, event.call_id))
            if home is None:
                own.append(event)
            elif event.end is None:
                duplicates += 1  # it is there already, or will be by the message that claimed the call
            else:
                others.append((home, event))
        if others:
            self._send_on(others)
        return KeptEvents(own, len(others), duplicates)

    def look_for_starts(self, shard: Shard, now_us: int) -> int:
        """Send on the waiting ends whose starts other shards have got meanwhile; returns how many."""
        due: list[bytes] = []
        for field in shard.waiting.fields:
            at_us, pause_us = self._next_look_us.get(field, (0, LOOK_US_MIN // 2))
            if at_us <= now_us and len(due) < LOOKED_FOR_MAX:
                pause_us = min(2 * pause_us, LOOK_US_MAX)
                self._next_look_us[field] = now_us + pause_us, pause_us
                due.append(field)
        if not due or self.partitions <= 1:
            return 0
        waiting = shard.waiting.read(due)
        found = self._homes(shard, {(event.project_id, event.call_id): event for event in waiting.values()}.keys())
        gone = {field: event for field, event in waiting.items() if (event.project_id, event.call_id) in found}
        if gone:
            self._send_on([(found[event.project_id, event.call_id], event) for event in gone.values()])
            shard.forget_waiting(list(gone))
        self._next_look_us = {
            field: look for field, look in self._next_look_us.items() if field in shard.waiting.fields
        }
        return len(gone)

    def _homes_of_starts(self, shard: Shard, events: Sequence[Event], are_keyed: bool) -> dict[tuple[str, str], int]:
        """Return where calls that start here are counted, for those that are counted elsewhere."""
        certain_us = self.grown_us + GROWN_SLACK_US if self.grown_us else 0
        doubtful = [
            event
            for event in events
            if event.start is not None and (not are_keyed or event.start.started_at_us < certain_us)
        ]
        if not doubtful:
            return {}
        new = [event for event, is_here in zip(doubtful, shard.have_started(doubtful), strict=True) if not is_here]
        starts = {
            (event.project_id, pack_id(event.call_id)): event.start.started_at_us
            for event in new
            if event.start is not None
        }
        claims = self._elsewhere.claim(starts)
        names = {(event.project_id, pack_id(event.call_id)): (event.project_id, event.call_id) for event in new}
        found = {names[call]: home for call, home in claims.items() if home != shard.partition}
        # What was counted without a claim: through keyed messages, before partitions were added.
        mine = [names[call] for call, home in claims.items() if home == shard.partition]
        return found | self._homes(shard, mine)

    def _homes_of_ends(
        self, shard: Shard, ends: Sequence[Event], here: set[tuple[str, str]]
    ) -> dict[tuple[str, str], int]:
        """Return where the starts of calls are that end here without one, if they are anywhere."""
        ends = [event for event in ends if (event.project_id, event.call_id) not in here]
        known = shard.have_started(ends)
        return self._homes(
            shard,
            [(event.project_id, event.call_id) for event, is_here in zip(ends, known, strict=True) if not is_here],
        )

    def _homes(self, shard: Shard, calls: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        by_project: dict[str, list[str]] = {}
        for project_id, call_id in dict.fromkeys(calls):
            by_project.setdefault(project_id, []).append(call_id)
        found: dict[tuple[str, str], int] = {}
        for project_id, call_ids in by_project.items():
            packed = {pack_id(call_id): call_id for call_id in call_ids}
            for one, partition in self._elsewhere.started(project_id, list(packed)).items():
                found[project_id, packed[one]] = partition
        return found
