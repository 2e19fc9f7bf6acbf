"""How often Python looks for garbage in rings, in the processes that run for long."""

import gc

# How many more objects there are than after the last collection before the youngest are collected: an answer of many
# rows is made of some 100,000.
YOUNG_MAX = 100_000
# The same in a worker: a batch of 20,000 events is made of up to 150,000, all of which are gone after it, so that
# none is looked at but what stays. At most, rings of some 100 MB.
YOUNG_OF_BATCHES_MAX = 500_000
# How many collections of the youngest, and of the older ones, between those of the next older.
OLDER = (20, 50)


def collect_seldom(young_max: int = YOUNG_MAX) -> None:
    """Call once all is imported and made: what is there stays, and what comes hardly ever holds a ring.

    A worker's records live long, and to scan them again and again took a third of its time.
    """
    gc.freeze()
    gc.set_threshold(young_max, *OLDER)
