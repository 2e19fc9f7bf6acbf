"""What the rollups of one project take in one shard: how many cells a slot's calls touch, and the bytes of each.

Calls are taken to be spread evenly over values, models and time, which touches the most cells: a plan is no smaller
than what is needed.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from aggregator.rollups.levels import LEVELS, Level, Retention
from aggregator.time_units import DAY_S
from callmeter.planning.figures import Curve, Figures


@dataclass(frozen=True)
class Mix:
    """What a project's calls are like: how many distinct values there are, and how large a part has them.

    `views_max`: as CALLMETER_LIMITS__VIEWS.
    """

    models: int = 5
    ops: int = 20
    users: int = 50
    runs: int = 0
    calls_per_trace: float = 12.0
    usage_share: float = 0.5
    views_max: int = 2_000


class LevelBytes(NamedTuple):
    """Bytes of one level; `sketch_bytes`, a part of them: what its cells hold beyond cells of one call."""

    total_bytes: float
    sketch_bytes: float


class Views(NamedTuple):
    """Views of one kind, one for each value, which together count this part of the calls, each call in one of them."""

    values: int
    share: float


def views_of(mix: Mix) -> tuple[Views, ...]:
    """All views of a day: of all calls, of each value, of each combination; no kind has more than `views_max`."""
    roots = 1 / mix.calls_per_trace
    kinds = [Views(min(mix.ops, mix.views_max), 1.0), Views(1, roots)]
    # An op is either that of roots or of calls within; so being a root makes no further combinations.
    combinations = mix.ops
    for values in (mix.users, mix.runs):
        if values:
            kinds.append(Views(min(values, mix.views_max), 1.0))
            combinations *= values
    # Without users and runs only roots have two values.
    joint_share = 1.0 if mix.users or mix.runs else roots
    return (Views(1, 1.0), *kinds, Views(min(combinations, mix.views_max), joint_share))


def touched(kinds: float, calls: float) -> float:
    """How many of so many kinds occur among these calls, each call being of any kind as likely as of another."""
    return kinds * -math.expm1(-calls / kinds)


def slot_bytes(calls: float, mix: Mix, slots: Curve, models: Curve) -> float:
    """Bytes of all cells of one slot in which so many calls began, in all views."""
    return sum(_views_bytes(views, calls * views.share, mix, slots, models) for views in views_of(mix) if views.values)


def _views_bytes(views: Views, calls: float, mix: Mix, slots: Curve, models: Curve) -> float:
    return _kinds_bytes(views.values, calls, slots) + _kinds_bytes(
        views.values * mix.models, calls * mix.usage_share, models
    )


def _kinds_bytes(kinds: int, calls: float, curve: Curve) -> float:
    """Bytes of what has a part for each of so many kinds of calls."""
    occurring = touched(kinds, calls)
    return occurring * curve.at(calls / occurring) if occurring else 0.0


def level_bytes(calls_per_s: float, level: Level, mix: Mix, retention: Retention, figures: Figures) -> LevelBytes:
    """Bytes of a project's cells of one level in one shard."""
    # Keys hold a block and go when the whole block is past retention.
    kept = (retention.level_s(level) + level.block_s) / level.slot_s
    calls = calls_per_s * level.slot_s
    slots, models = figures.slot_bytes[level.letter], figures.model_bytes[level.letter]
    all_in = slot_bytes(calls, mix, slots, models)
    totals = slot_bytes(calls, mix, _first_of(slots), _first_of(models))
    return LevelBytes(kept * all_in, kept * (all_in - totals))


def directory_bytes(calls_per_s: float, mix: Mix, retention: Retention, figures: Figures) -> float:
    """Bytes of the directories of views of a project in one shard, one for each day that rollups are kept."""
    days = max(retention.level_s(level) for level in LEVELS) / DAY_S + 1
    calls = calls_per_s * DAY_S
    return (
        days
        * figures.view_bytes
        * sum(touched(kind.values, calls * kind.share) for kind in views_of(mix) if kind.values)
    )


def _first_of(curve: Curve) -> Curve:
    return Curve(curve.amounts[:1], curve.costs[:1])
