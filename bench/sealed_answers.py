"""What sealed calls answer, from a directory, beside ClickHouse's raw table of the same calls.

A month of calls, all sealed, and all but the last day's moved into objects. Cold: the first question to a process that
has just started, ours and theirs; warm: asked again. Answers are compared before they count. A month at 10 calls/s,
of which the targets speak, takes an hour to fold: each line says how many calls it is about, and what is met by few
calls says nothing of many.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import msgspec

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.rollups.series import USAGE_METRICS
from bench import raw_table
from bench.agreement import Differ, check_answers
from bench.answers import STATS, USAGE
from bench.asking import Asker, dashboard_questions, stats_body
from bench.clickhouse import ClickHouse
from bench.clickhouse_sql import QUERIES, Query
from bench.environments import NotInstallable, python_with
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, Target, compared, in_turn, ours_at_most
from bench.month import DAYS, PROJECT, events_of, last_minute
from bench.scale import Scale, tell, watched
from bench.sealed_stage import load_sealed, objects_url
from bench.stage import Stage

SHARD = ShardName("month", "month", 0)
ROOTS = 100
COLD_MS_MAX = {
    "24 h at 5 min": 6.0,
    "7 d at 1 h, p95 latency": 15.0,
    "30 d sums": 10.0,
    "30 d p50/p95/p99": 250.0,
    "30 d p50/p95/p99 of an op and a user": 100.0,
    "usage of 100 roots": 15.0,
}
ROOTS_WARM_MS_MAX = 5.0


class Asked(NamedTuple):
    """A question to both: where ours goes, its body, their queries, and what the answers are compared by."""

    path: str
    body: bytes
    queries: list[str]
    query: Query | None


class Roots:
    """Passes events on, and keeps some roots of the first half of the month, with an op and a user that occur."""

    def __init__(self, events: Iterator[Event], before_us: int) -> None:
        self._events, self._before_us = events, before_us
        self.ids: dict[str, str] = {}
        self.op_name = self.user_id = ""

    def __iter__(self) -> Iterator[Event]:
        for event in self._events:
            start = event.start
            if start is not None and start.parent_id is None and start.started_at_us < self._before_us:
                if len(self.ids) < ROOTS and event.call_id[-1] in "0123":
                    self.ids[event.call_id] = start.trace_id or event.call_id
            elif start is not None and ".op-0" in start.op_name and start.op_name.rpartition("/")[2].startswith("llm"):
                self.op_name, self.user_id = start.op_name, start.user_id or ""
            yield event


def run(scale: Scale) -> Iterator[Line]:
    """Yields two lines for each question, cold and warm."""
    try:
        python = python_with("chdb")
    except NotInstallable as why:
        yield Line("sealed answers", absent=str(why))
        return
    calls, end = scale.amount(1_000_000, 50_000, least=3_000), last_minute()
    settings = GeneratorSettings(calls, end - timedelta(days=DAYS), DAYS, message_bytes=0)
    middle_us = int((end - timedelta(days=DAYS / 2)).timestamp() * 1e6)
    with Stage(broker=False) as stage:
        theirs = ClickHouse(python, stage.directory / "clickhouse")
        try:
            events = Roots(
                events_of(watched(generate(settings), 2 * calls, f"events of {calls:,} calls"), end), middle_us
            )
            raw_table.load(theirs, stage.directory / "calls.jsonl", events, end)
            load_sealed(stage, SHARD, events_of(generate(settings), end), end)
            for name, asked in _questions(events, end).items():
                yield from _compare(stage, theirs, asked, f"{calls:,} calls sealed, {name}", name, scale)
        finally:
            theirs.close()


def _questions(roots: Roots, end: datetime) -> dict[str, Asked]:
    """Returns what is asked of both."""
    bodies = dashboard_questions(PROJECT, end)
    asked = {
        name: Asked(STATS, bodies[name], raw_table.queries(query, PROJECT, end), query)
        for name, query in QUERIES.items()
        if name in COLD_MS_MAX
    }
    query = QUERIES["30 d p50/p95/p99"]
    metrics = [
        {"metric": metric, "aggregations": ["sum"], "percentiles": list(query.percentiles)} for metric in USAGE_METRICS
    ]
    body = stats_body(
        PROJECT,
        end,
        query.back,
        granularity=query.granularity_s,
        timezone=query.timezone,
        usage_metrics=metrics,
        filter={"op_names": [roots.op_name], "wb_user_ids": [roots.user_id]},
    )
    only = f"op_name = '{roots.op_name}' AND wb_user_id = '{roots.user_id}'"
    filtered = raw_table.queries(query, PROJECT, end, only)
    asked["30 d p50/p95/p99 of an op and a user"] = Asked(STATS, body, filtered, query)
    of_roots = msgspec.json.encode({"project_id": PROJECT, "call_ids": list(roots.ids), "include_costs": True})
    asked["usage of 100 roots"] = Asked(USAGE, of_roots, [raw_table.trees_query(roots.ids.values())], None)
    return asked


def _compare(stage: Stage, theirs: ClickHouse, asked: Asked, title: str, name: str, scale: Scale) -> Iterator[Line]:
    tell(title)
    api, address = stage.api(SHARD.namespace, NOW=_now(asked), SEGMENTS__URL=objects_url(stage))
    asker = Asker(address)
    theirs.close()
    theirs.ask("SELECT 1")
    asker.ask(asked.path, asked.body.replace(PROJECT.encode(), b"acme/nothing"))  # as they have answered one
    cold = asker.time_ms(asked.path, asked.body), theirs.time_ms(*asked.queries)
    _check(asked, msgspec.json.decode(asker.ask(asked.path, asked.body)), theirs.ask(*asked.queries)[1])
    warm = in_turn(
        scale.rounds(),
        {
            "ours": partial(asker.time_ms, asked.path, asked.body),
            "theirs": partial(theirs.time_ms, *asked.queries),
        },
    )
    asker.close()
    api.stop()
    is_usage = asked.path == USAGE
    yield compared(f"{title}, cold: ours / ClickHouse raw", "ms", [cold[0]], [cold[1]], _at_most(COLD_MS_MAX[name]))
    warm_target = _at_most(ROOTS_WARM_MS_MAX) if is_usage else None
    yield compared(f"{title}, warm: ours / ClickHouse raw", "ms", warm["ours"], warm["theirs"], warm_target)


def _at_most(bound_ms: float) -> Target:
    return ours_at_most(bound_ms)


def _now(asked: Asked) -> str:
    return str(msgspec.json.decode(asked.body).get("end") or last_minute().isoformat())


def _check(asked: Asked, ours: dict[str, Any], theirs: list[list[list[Any]]]) -> None:
    """Raises Differ where the answers are not the same: sums exactly, of trees the tokens."""
    if asked.query is not None:
        check_answers(asked.query, ours, theirs, whole=True)
        return
    totals = sum(model["total_tokens"] for of_call in ours["call_usage"].values() for model in of_call.values())
    if totals != sum(int(row[4]) for row in theirs[0]) or not totals:
        raise Differ(f"ours and ClickHouse differ on trees: {totals} tokens and {theirs[0][:3]}")
