"""A worker that stands still, for what it tells of itself to be looked at."""

from collections.abc import Iterable, Sequence

from callmeter.stored_offsets import PartitionProgress

NOW_US = 1_000_000_000


class Standing:
    """A worker with these partitions, whose last step was at NOW_US."""

    def __init__(self, *states: str) -> None:
        self.states = states
        self.stepped_us = NOW_US

    def partitions(self) -> Sequence[tuple[str, int, str]]:
        return [("calls", number, state) for number, state in enumerate(self.states)]


def progress() -> Iterable[PartitionProgress]:
    """Two partitions: one with 7 messages to go, as of two seconds ago; the other is somebody else's."""
    fields = {"as_of_us": NOW_US - 2_000_000, "messages": 93, "ends_waiting": 4}
    fields |= {"events": 150, "duplicates": 3, "events_sent_on": 5, "dead_letters": 2}
    return [PartitionProgress("calls", 0, 0, 100, 93, fields), PartitionProgress("calls", 1, 0, 50, 0, {})]
