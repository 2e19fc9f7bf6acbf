"""What filters beyond the views that are kept cost: calls looked at as columns, beside views of their combinations.

The same month of sealed calls twice, in one Redis and one directory: once with all views, and once with none. Both are
asked in turn, each time about other ops and users, so that nothing of the answer is kept.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aggregator.layout.keys import ShardName
from bench.agreement import Differ
from bench.answers import STATS
from bench.asking import Asker, stats_body
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, compared, in_turn
from bench.month import DAYS, PROJECT, events_of, last_minute
from bench.scale import Scale, tell, watched
from bench.sealed_stage import load_sealed, objects_url
from bench.stage import Stage

VIEWED, UNVIEWED = ShardName("viewed", "month", 0), ShardName("unviewed", "month", 0)
OPS, USERS = 20, 50
PERCENTILES = {"metric": "total_tokens", "percentiles": [50, 95, 99]}
QUESTIONS: dict[str, tuple[timedelta, dict[str, Any]]] = {
    "30 d sums": (timedelta(days=30), {"metric": "total_tokens"}),
    "30 d p50/p95/p99": (timedelta(days=30), PERCENTILES),
    "24 h p50/p95/p99": (timedelta(days=1), PERCENTILES),
}
KINDS = {"an op and a user": (1, 1), "10 ops and 25 users": (10, 25)}


def run(scale: Scale) -> Iterator[Line]:
    """Yields a line for each question and kind of filter."""
    calls, end = scale.amount(300_000, 50_000, least=3_000), last_minute()
    settings = GeneratorSettings(calls, end - timedelta(days=DAYS), DAYS, message_bytes=0, ops=OPS, users=USERS)
    ops, users = set[str](), set[str]()
    with Stage(broker=False) as stage:
        for shard, views_max in ((VIEWED, 1_000_000), (UNVIEWED, 0)):
            events = events_of(watched(generate(settings), 2 * calls, f"events of {calls:,} calls"), end)
            load_sealed(stage, shard, events, end, views_max)
        for event in events_of(generate(settings), end):
            if event.start is not None:
                ops.add(event.start.op_name)
                users.add(event.start.user_id or "")
        settings_of_api = {"NOW": end.isoformat(), "SEGMENTS__URL": objects_url(stage)}
        askers = [Asker(stage.api(one.namespace, **settings_of_api)[1]) for one in (VIEWED, UNVIEWED)]
        for name, question in QUESTIONS.items():
            for kind, counts in KINDS.items():
                title = f"{calls:,} calls sealed, {name} of {kind}: by calls / by views"
                tell(title)
                bodies = _bodies(end, question, [sorted(ops), sorted(users)], counts, 1 + scale.rounds())
                yield _compare(title, askers, bodies)
        for asker in askers:
            asker.close()


def _bodies(
    end: datetime,
    question: tuple[timedelta, dict[str, Any]],
    names: Sequence[Sequence[str]],
    counts: Sequence[int],
    bodies: int,
) -> list[bytes]:
    """Returns so many requests, each about other ops and users."""
    rng, (back, metric) = random.Random(1), question
    filters = [
        dict(zip(("op_names", "wb_user_ids"), map(rng.sample, names, counts), strict=True)) for _ in range(bodies)
    ]
    return [stats_body(PROJECT, end, back, usage_metrics=[metric], filter=one) for one in filters]


def _compare(title: str, askers: Sequence[Asker], bodies: Sequence[bytes]) -> Line:
    """Returns what both take, once they have answered the first request, and that alike. Raises Differ."""
    viewed, unviewed = (msgspec.json.decode(one.ask(STATS, bodies[0]))["usage_buckets"] for one in askers)
    if viewed != unviewed:
        raise Differ(f"{title}: {viewed[:2]} and {unviewed[:2]}")
    of_viewed, of_unviewed = iter(bodies[1:]), iter(bodies[1:])
    times = in_turn(
        len(bodies) - 1,
        {
            "ours": lambda: askers[1].time_ms(STATS, next(of_unviewed)),
            "other": lambda: askers[0].time_ms(STATS, next(of_viewed)),
        },
    )
    return compared(title, "ms", times["ours"], times["other"])
