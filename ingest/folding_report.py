"""What a worker logs of its folding: events, partitions, speed, and that its input is broken."""

import logging
from collections.abc import Callable, Collection

from aggregator.time_units import SECOND_US
from ingest.assignment import Assignment
from ingest.invalid_share import InvalidShare

log = logging.getLogger(__name__)

REPORT_INTERVAL_US = 10 * SECOND_US


class FoldingReport:
    """Counts the events of all partitions that a worker has had. `memory_bytes`: the most that it has taken."""

    def __init__(self, invalid: InvalidShare, memory_bytes: Callable[[], int], now_us: int) -> None:
        self._invalid = invalid
        self._memory_bytes = memory_bytes
        self._left_events = 0  # applied in partitions that others have now
        self._reported = (0, now_us)

    def note_left(self, assignment: Assignment) -> None:
        """Keep the count of a partition that is given up."""
        self._left_events += assignment.applied_events

    def fields(self, assignments: Collection[Assignment]) -> dict[str, int]:
        """How far the worker is, as fields of a log event."""
        return {
            "events": self._applied_events(assignments),
            "partitions": len(assignments),
            "memory_high_water_bytes": self._memory_bytes(),
        }

    def log_if_due(self, assignments: Collection[Assignment], now_us: int) -> None:
        """Log once per interval, where something was folded; a broken input as often as its limit says."""
        events_before, reported_us = self._reported
        events = self._applied_events(assignments)
        if broken := self._invalid.to_tell(now_us):
            log.error("messages are invalid: a producer is broken; they go to the dead letters", extra=broken)
        if now_us - reported_us < REPORT_INTERVAL_US:
            return
        if events > events_before:
            rate = (events - events_before) / ((now_us - reported_us) / SECOND_US)
            log.info("folding", extra={**self.fields(assignments), "events_per_s": round(rate)})
        self._reported = (events, now_us)

    def _applied_events(self, assignments: Collection[Assignment]) -> int:
        return self._left_events + sum(one.applied_events for one in assignments)
