"""How many partitions the topics of a worker have, and so what its assignments must ask of other shards."""

import logging
from collections.abc import Callable, Iterable

from aggregator.store.elsewhere import Elsewhere
from ingest.assignment import Assignment, State
from ingest.kafka.consumer import Source
from ingest.kafka.sent_events import SentEvents
from ingest.sending_on import SendingOn

log = logging.getLogger(__name__)

# After partitions were added, steps of other workers that were begun before come to their end within this time.
SETTLING_S = 2.0


class Topology:
    """Looks before each step, so that what comes by a new sharing-out of keys is never taken for what it was before.

    `elsewhere` gives what the other shards of an assignment's topic know.
    """

    def __init__(self, source: Source, elsewhere: Callable[[Assignment], Elsewhere], sent_events: SentEvents) -> None:
        self._source = source
        self._elsewhere = elsewhere
        self._sent_events = sent_events
        self._counts: dict[str, int] = {}

    def look(self, assignments: Iterable[Assignment], topics: Iterable[str], now_us: int) -> bool:
        """Count the partitions of these topics; whether one has got more since the last look."""
        has_grown = False
        for topic in topics:
            known = self._counts.get(topic, 0)
            count = self._source.partition_count(topic) or known
            if known and count > known:
                log.warning("the topic has more partitions now", extra={"topic": topic, "partitions": count})
                has_grown = True
            self._counts[topic] = max(count, known)
        for assignment in assignments:
            count = self._counts.get(assignment.partition.topic, 0)
            known_by = assignment.sending_on
            if count and assignment.state is not State.OPENING and (known_by is None or known_by.partitions < count):
                self._tell(assignment, count, now_us)
        return has_grown

    def _tell(self, assignment: Assignment, count: int, now_us: int) -> None:
        topic, elsewhere = assignment.partition.topic, self._elsewhere(assignment)
        assignment.sending_on = SendingOn(
            elsewhere, lambda events: self._sent_events.send(topic, events), count, elsewhere.grown_us(count, now_us)
        )
