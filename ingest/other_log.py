"""What a worker does with a log that is not the one that was folded: it goes on, or refuses to guess and says why."""

import logging

from ingest.assignment import Assignment
from ingest.kafka.consumer import Source
from ingest.kafka.partition import named

log = logging.getLogger(__name__)

REFUSED = "the log is not the one that was folded; not reading it until its shard is reset"
"""The event of a partition that is refused; its fields say why, and name the command that lets the worker go on."""

TRUNCATED = "the log has lost messages that were folded, and has grown past them since"
MADE_AGAIN = "the topic is not the one that was folded: it was deleted and made again"
ENDS_BEFORE = "the topic ends before the stored offset: it was deleted and made again, or lost messages"
"""Why a partition is refused."""


def refuse(assignment: Assignment, source: Source, now_us: int, why: str, **fields: int | None) -> None:
    """Read a log no more that is not the one that was folded, until an operator says where to go on."""
    partition = assignment.partition
    command = f"callmeter shard reset --topic {partition.topic} --partition {partition.number} --to-beginning"
    log.error(
        REFUSED,
        extra={**named(partition), "why": why, "next_offset": assignment.next_offset, **fields, "command": command},
    )
    assignment.refuse(now_us)
    source.hold(partition)


def find_log(assignment: Assignment, source: Source, now_us: int) -> None:
    """The stored offset is not in the log: go on where the log begins, or, if it ends before, refuse to guess."""
    partition, next_offset = assignment.partition, assignment.next_offset
    low, high = source.log_ends(partition)
    extra = {**named(partition), "next_offset": next_offset, "log_begins": low, "log_ends": high}
    if next_offset is None:
        source.seek(partition, low)
    elif next_offset > high:
        refuse(assignment, source, now_us, ENDS_BEFORE, log_begins=low, log_ends=high)
    else:
        if next_offset < low:
            log.error("messages were deleted before they were read; going on where the log begins", extra=extra)
            assignment.shard.skip_lost(low)
        source.seek(partition, assignment.next_offset)
