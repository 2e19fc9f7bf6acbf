"""How long a bucket is: chosen for the range where the request is silent, raised where it asks for too many."""

from aggregator.time_units import DAY_S, HOUR_S, MINUTE_S, SECOND_US

# More rows than a chart has pixels help nobody, and each bucket costs time to merge and bytes to send.
BUCKETS_MAX = 10_000


# (longest range in seconds, granularity in seconds), as the reference chooses them.
_CHOICES = ((2 * HOUR_S, 300), (12 * HOUR_S, HOUR_S), (3 * DAY_S, 21_600), (14 * DAY_S, 43_200))
_CHOICE_BEYOND_S = DAY_S


def resolve_granularity(range_us: int, requested_s: int | None) -> int:
    """The granularity in seconds of a window `range_us` microseconds long; `requested_s` >= 1, or None to choose.

    What would make more than BUCKETS_MAX buckets is raised to the next second that does not, and from a minute on
    to whole minutes, so that rollups answer it.
    """
    granularity_s = _chosen(range_us) if requested_s is None else requested_s
    if range_us <= BUCKETS_MAX * granularity_s * SECOND_US:
        return granularity_s
    raised_s = max(granularity_s, range_us // (BUCKETS_MAX * SECOND_US) + 1)
    return raised_s if raised_s < MINUTE_S else -(-raised_s // MINUTE_S) * MINUTE_S


def _chosen(range_us: int) -> int:
    for range_s_max, granularity_s in _CHOICES:
        if range_us <= range_s_max * SECOND_US:
            return granularity_s
    return _CHOICE_BEYOND_S
