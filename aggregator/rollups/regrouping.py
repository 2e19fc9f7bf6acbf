"""Merged rollups put together anew: several buckets or series as one, and what is left of a whole without its parts."""

from collections.abc import Callable, Mapping

from aggregator.rollups.accumulator import BucketSeries, Merged
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, model_series
from aggregator.rollups.totals import ROWS

# The series that usage of all models is put together in; only where no model is told apart, so any name will do.
ALL_MODELS = model_series("")


def regroup(merged: Merged, place: Callable[[BucketSeries], BucketSeries | None], into: Merged) -> None:
    """Add the series of `merged`, with their values, to `into` where `place` says; calls and errors are left alone."""
    for series in (OF_LATENCY, OF_USAGE):
        found = merged.totals(series)
        packed = found.rows.astype("<i8")
        for at, key in enumerate(found.keys):
            there = place(key)
            if there is not None and key in found.large:
                into.add_large(*there, found.large[key])
            elif there is not None:
                into.add_totals(*there, packed[at].tobytes())
    for key, values in merged.values.items():
        there = place(key)
        if there is not None:
            more = into.values_of(*there)
            more.rows += values.rows
            more.large += values.large
            more.sketches += values.sketches


def move_buckets(merged: Merged, targets: Mapping[int, int], into: Merged) -> None:
    """Add buckets of `merged`, over all models, to the buckets of `into` that `targets` names; leave out the others."""
    for bucket, target in targets.items():
        into.calls[target] += merged.calls[bucket]
        into.errors[target] += merged.errors[bucket]

    def place(key: BucketSeries) -> BucketSeries | None:
        bucket, name = key
        target = targets.get(bucket)
        return None if target is None else (target, name if name == LATENCY else ALL_MODELS)

    regroup(merged, place, into)


def move_usage(merged: Merged, bucket: int, targets: Mapping[bytes, int], into: Merged) -> None:
    """Add the usage of each model in a bucket of `merged` to the bucket of `into` that `targets` names."""

    def place(key: BucketSeries) -> BucketSeries | None:
        return (targets[key[1]], ALL_MODELS) if key[0] == bucket and key[1] in targets else None

    regroup(merged, place, into)


def add_rest(merged: Merged, whole: int, into: Merged, target: int) -> None:
    """Add to a bucket of `into`, over all models, the bucket `whole` of `merged` without all its others.

    Sums and counts are exact. Minima, maxima and percentiles cannot be known so, and mean nothing.
    """
    into.calls[target] += 2 * merged.calls[whole] - sum(merged.calls)
    into.errors[target] += 2 * merged.errors[whole] - sum(merged.errors)
    for series, name in ((OF_LATENCY, LATENCY), (OF_USAGE, ALL_MODELS)):
        found, layout = merged.totals(series), series.layout
        left, taken = layout.none(), layout.none()
        for at, key in enumerate(found.keys):
            layout.merge(left if key[0] == whole else taken, found.large.get(key) or found.rows[at].tolist())
        rest = [mine - theirs for mine, theirs in zip(left[: layout.minima], taken[: layout.minima], strict=True)]
        rest += layout.none()[layout.minima :]
        layout.carry(rest)
        if rest[ROWS]:
            into.add_large(target, name, rest)
