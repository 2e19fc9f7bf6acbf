"""What Kafka may do to lines on their way: some come twice, and each may overtake others."""

import random
from collections.abc import Iterable, Iterator

# How far apart disorder and repetition bring lines: beyond a worker's batch, within a few seconds of a busy topic.
DISORDER_LINES = 20_000
REPEATS_WAITING_MAX = 50


def repeat(lines: Iterable[bytes], probability: float, rng: random.Random) -> Iterator[bytes]:
    """The lines, some of them once more a while later."""
    waiting: list[bytes] = []
    for line in lines:
        yield line
        if rng.random() < probability:
            waiting.append(line)
            if len(waiting) > REPEATS_WAITING_MAX:
                yield waiting.pop(rng.randrange(REPEATS_WAITING_MAX))
    yield from waiting


def shuffle(lines: Iterable[bytes], rng: random.Random) -> Iterator[bytes]:
    """The lines, each exchanged with one of the last so many: ends before starts, children before parents."""
    waiting: list[bytes] = []
    for line in lines:
        if len(waiting) < DISORDER_LINES:
            waiting.append(line)
            continue
        place = int(rng.random() * DISORDER_LINES)
        yield waiting[place]
        waiting[place] = line
    rng.shuffle(waiting)
    yield from waiting
