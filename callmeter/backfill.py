"""Old events before they are sent: which of them workers would refuse or count nowhere, and which setting lets them in.

Also how far a file has been sent, so that a run that was cut off goes on there.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from aggregator.calls.event import Event
from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S, DAY_US, SECOND_US
from aggregator.timestamps import format_utc
from callmeter.event_mistakes import mistakes
from ingest.decoding.single import decode_message
from ingest.kafka.message_key import KeyedMessage, MessageKeys, NoEvent
from ingest.message_size import MESSAGE_BYTES_MAX

# Lines that are told one by one; a file of another kind would tell of each.
LINES_SHOWN_MAX = 20
LINE_BYTES_MAX = MESSAGE_BYTES_MAX + 1
# What is compared of a file before it is gone on with: the bytes before the place.
TRACE_BYTES = 4_096
# What is asked for beyond the oldest event, so that it is still kept when a worker comes to it.
SPARE_DAYS = 2


class Line(NamedTuple):
    """A line that is not empty, its number, and where the next one begins."""

    number: int
    next_offset: int
    text: bytes


class KeptByWorkers(NamedTuple):
    """What workers take: what they keep, and that records from before an instant are gone already (0: none)."""

    retention: Retention
    dropped_before_us: int = 0


class Refused(Exception):
    """A line that must not be sent; the message says why."""


class Findings:
    """What a file holds that is sent to no use."""

    def __init__(self, reach: KeptByWorkers, clock: Callable[[], int]) -> None:
        self._reach = reach
        self._clock = clock  # sending takes hours, and what was just young enough may not be any more
        self._now_us = clock()
        self.events = 0
        self.bad: list[str] = []
        self.bad_lines = 0
        self.too_late = 0
        self.dropped = 0
        self.nowhere = 0
        self._oldest_us = self._now_us

    @property
    def are_none(self) -> bool:
        """Whether all may be sent."""
        return not (self.bad_lines or self.too_late or self.dropped or self.nowhere)

    def look(self, line: Line, keys: MessageKeys) -> list[KeyedMessage]:
        """Take in a line; its messages."""
        self._now_us = self._clock()
        try:
            messages = keys.messages(line.text)
            decoded = [decode_message(message.value, self._now_us) for message in messages]
            for message, one in zip(messages, decoded, strict=True):
                if one.invalid:
                    raise NoEvent(f"is not an event: {'; '.join(mistakes(message.value, self._now_us))}")
        except NoEvent as wrong:
            self.bad_lines += 1
            if len(self.bad) < LINES_SHOWN_MAX:
                self.bad.append(f"line {line.number}: {wrong}")
            return []
        for one in decoded:
            for event in one.events:
                self._look_at(event)
        return messages

    def _look_at(self, event: Event) -> None:
        self.events += 1
        retention = self._reach.retention
        at_us = event.at_us
        self._oldest_us = min(self._oldest_us, at_us)
        age_us = self._now_us - at_us
        if at_us < self._reach.dropped_before_us:
            self.dropped += 1
        elif age_us > retention.calls_s * SECOND_US:
            self.too_late += 1
        elif age_us > max(retention.hours_s, retention.five_minutes_s, retention.minutes_s) * SECOND_US:
            self.nowhere += 1

    def sentences(self) -> Iterator[str]:
        """Yield what there is to say, with the setting to change first."""
        yield from self.bad
        if self.bad_lines > len(self.bad):
            yield f"and {self.bad_lines - len(self.bad)} more lines that are no events"
        days = (self._now_us - self._oldest_us) // DAY_US + SPARE_DAYS
        kept = self._reach.retention
        if self.too_late:
            yield (
                f"{self.too_late} events are older than call records are kept ({kept.calls_s // DAY_S} days): workers "
                f"would refuse them as too_late. The oldest is of {format_utc(self._oldest_us)}: set "
                f"CALLMETER_RETENTION__CALLS={days}d for workers and api, start them again, and set it back afterwards."
            )
        if self.nowhere or (self.too_late and days * DAY_S > kept.hours_s):
            yield (
                f"Rollups by the hour are kept for {kept.hours_s // DAY_S} days: what is older would be counted and "
                f"dropped at once. Set CALLMETER_RETENTION__HOURS={days}d for workers and api."
            )
        if self.dropped:
            yield (
                f"{self.dropped} events are from before {format_utc(self._reach.dropped_before_us)}: their call "
                "records were dropped, so nobody knows whether they have been counted, and workers refuse them "
                "whatever is kept from now on."
            )


def lines_of(source: IO[bytes], number: int, offset: int) -> Iterator[Line]:
    """The lines from the one with this number, which begins at this offset. Raises Refused for one that is too long."""
    for count, text in enumerate(iter(partial(source.readline, LINE_BYTES_MAX + 1), b""), start=number):
        offset += len(text)
        if len(text) > LINE_BYTES_MAX:
            raise Refused(f"line {count}: is longer than {LINE_BYTES_MAX:,} bytes")
        if not text.isspace():
            yield Line(count, offset, text.strip())


class Place(NamedTuple):
    """How far a file was delivered to a topic: the next line, where it begins, and a trace of what is before it."""

    topic: str
    next_line: int
    next_offset: int
    trace: str


class PlaceFile:
    """Where the place of a file is kept while it is sent: beside it, or where one was told."""

    def __init__(self, source: Path, path: Path | None) -> None:
        self._source = source
        self.path = path or source.with_name(f"{source.name}.backfill")

    def read(self, topic: str) -> Place | None:
        """Return where to go on; None for a file that has not been begun for this topic. Raises Refused if it has
        changed.
        """
        try:
            place = Place(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise Refused(f"{self.path} does not say how far a file was sent; delete it to begin anew") from None
        if place.topic != topic:
            raise Refused(f"{self.path} is of a run to topic {place.topic!r}; delete it to begin anew")
        if self._trace(place.next_offset) != place.trace:
            raise Refused(f"{self._source} has changed since it was begun; delete {self.path} to begin anew")
        return place

    def write(self, topic: str, next_line: int, next_offset: int) -> None:
        """Note that all before a line has been delivered; whole or not at all."""
        place = Place(topic, next_line, next_offset, self._trace(next_offset))
        beside = self.path.with_name(f"{self.path.name}.new")
        beside.write_text(json.dumps(place._asdict()))
        os.replace(beside, self.path)

    def forget(self) -> None:
        """All is delivered."""
        self.path.unlink(missing_ok=True)

    def _trace(self, offset: int) -> str:
        with self._source.open("rb") as file:
            file.seek(max(0, offset - TRACE_BYTES))
            return hashlib.sha256(file.read(min(offset, TRACE_BYTES))).hexdigest()
