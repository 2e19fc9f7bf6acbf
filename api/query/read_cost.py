"""What an answer costs to read, known before anything is read: whether it is cheap, and where a long one is cut."""

from collections.abc import Sequence
from itertools import pairwise

from api.query.questions import CallFilter, StatsQuestion
from api.query.read_plan import Cover, slots_about

# Slots of a view; those of percentiles cost more. The last day in five minutes with percentiles is cheap, as is a month
# in hours without.
CHEAP_COST_MAX = 1_500
PERCENTILES_COST = 5
# A prefix may stand for many views, of which only reading tells how many.
PREFIX_COST = 20
# Calls that are looked up one by one: some 5 ms.
CHEAP_CALLS_MAX = 1_000
# What is read, merged and made into rows before others have their turn: some 50 ms. A day in five minutes is read at
# once: it has 289 buckets where it does not begin with one.
STRETCH_SLOTS_MAX = 2_000
STRETCH_BUCKETS_MAX = 300


def read_cost(question: StatsQuestion, covers: Sequence[Cover]) -> int:
    """Return what these buckets cost, in slots of a view without percentiles."""
    slots = sum([len(within) for one in covers for _, within in one.slots])
    slots += sum([len(one.cut_minutes) for one in covers])
    percentiles = any(metric.percentiles for metric in (*question.call_metrics, *question.usage_metrics))
    return slots * _views(question.filter) * (PERCENTILES_COST if percentiles else 1)


def _views(asked: CallFilter) -> int:
    """How many views a filter selects, or may: the product of its values."""
    views = 1
    for values in (asked.op_names, asked.wb_user_ids, asked.wb_run_ids):
        views *= sum(PREFIX_COST if value.endswith(":*") else 1 for value in values or ("",))
    return views


def stretches(edges_us: Sequence[tuple[int, int]]) -> list[range]:
    """The buckets in stretches of at least one, each of about as many slots as are read at once, in order."""
    cuts, slots = [0], 0
    known: dict[int, int] = {}  # by length: nearly all buckets are as long
    for at, (from_us, to_us) in enumerate(edges_us):
        more = known.get(to_us - from_us)
        if more is None:
            more = known[to_us - from_us] = slots_about(from_us, to_us)
        if at > cuts[-1] and (slots + more > STRETCH_SLOTS_MAX or at - cuts[-1] >= STRETCH_BUCKETS_MAX):
            cuts.append(at)
            slots = 0
        slots += more
    return [range(first, until) for first, until in pairwise([*cuts, len(edges_us)]) if until > first]
