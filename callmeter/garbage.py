"""How often Python looks for garbage in rings, in the processes that run for long."""

import gc

# Objects allocated between collections of the youngest, and how many of those between the older ones.
THRESHOLDS = (100_000, 20, 50)


def collect_seldom() -> None:
    """Call once all is imported and made: what is there stays, and what comes hardly ever holds a ring.

    A worker's records live long, and to scan them again and again took a third of its time; an answer of many rows is
    made of some 100,000 objects.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
