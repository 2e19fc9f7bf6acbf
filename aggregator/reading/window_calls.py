"""Reading all calls of a window, some at a time, so that memory does not go by the window."""

from collections.abc import AsyncIterator, Iterator

from aggregator.calls.call import Call
from aggregator.reading.calls import calls_in_pieces, select_minutes
from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import MINUTE_US

# Minutes whose calls are looked up together: two round trips for each shard, and some 100 B a call while they are read.
MINUTES_AT_ONCE_MAX = 10


def minutes_in_pieces(start_us: int, end_us: int) -> Iterator[range]:
    """Yield the minutes (since 1970) that meet a window, MINUTES_AT_ONCE_MAX at a time."""
    first, end = start_us // MINUTE_US, -(-end_us // MINUTE_US)
    for at in range(first, end, MINUTES_AT_ONCE_MAX):
        yield range(at, min(end, at + MINUTES_AT_ONCE_MAX))


async def started_calls(
    reader: StoreReader, project: OpenedProject, minutes: range, start_us: int, end_us: int
) -> AsyncIterator[list[Call]]:
    """Yield the calls of these minutes that started in `[start_us, end_us)`, a thousand at most at a time.

    Each call comes once, sealed or not, in no order. Raises TooMuchToRead where a single minute has more calls than
    may be looked up at once.
    """
    try:
        selected = await select_minutes(reader, project, minutes)
    except TooMuchToRead:
        if len(minutes) == 1:
            raise
        for minute in minutes:
            async for calls in started_calls(reader, project, range(minute, minute + 1), start_us, end_us):
                yield calls
        return
    async for some in calls_in_pieces(reader, selected):
        yield [call for call in some.values() if call.started_us is not None and start_us <= call.started_us < end_us]
