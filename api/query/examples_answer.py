"""Answering `/calls/examples`: the newest, failing, slowest or dearest calls of a window, one by one."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from aggregator.calls.call import Call
from aggregator.calls.packed_id import unpack_id
from aggregator.reading.calls import select_minutes
from aggregator.reading.first_calls import Window
from aggregator.reading.ranked_calls import RankingLimits, rank_calls, rank_selected
from aggregator.reading.ranking import Ranking, usage_of
from aggregator.reading.slot_bounds import Slot
from aggregator.reading.value_rollups import views_of_days
from aggregator.rollups.levels import MINUTES, Retention
from aggregator.rollups.orders import cost_of
from aggregator.rollups.totals import PICO_PER_DOLLAR
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import DAY_US
from aggregator.timestamps import format_utc
from api.query.call_filters import matches_views, needs_calls, select_calls, view_filter
from api.query.examples_question import ExamplesQuestion
from api.query.read_plan import Cover, cover
from api.query.retained_window import calls_reach_us, level_reach_us
from api.query.window_refusals import end_of_time, refusing_what_is_not_kept
from api.refusals import invalid_at

RANKING_LIMITS = RankingLimits()

Link = Callable[[str, str], str | None]
"""The address of a call's page, by its project and id; None where there is none."""


def no_link(project_id: str, call_id: str) -> None:
    """No call has a page."""


def link_by(template: str) -> Link:
    """Links by a template with `{project_id}` and `{call_id}` in it, which are quoted; empty: no links."""
    if not template:
        return no_link
    return lambda project_id, call_id: template.replace("{project_id}", quote(project_id)).replace(
        "{call_id}", quote(call_id, safe="")
    )


async def answer_examples(
    reader: StoreReader,
    project: OpenedProject,
    question: ExamplesQuestion,
    now_us: int,
    retention: Retention,
    link: Link,
) -> bytes:
    """The JSON of a CallExamplesRes; raises Refusal, and StateLost."""
    reach_us = calls_reach_us(now_us, retention)
    start_us, end_us = kept_window(question, now_us, retention)
    if end_us <= reach_us and question.start_us < end_us:
        raise invalid_at(("end",), f"call records reach back to {format_utc(reach_us)}; ask for a later end")
    with refusing_what_is_not_kept():
        ranking, is_complete = await rank_examples(reader, project, question, now_us, retention)
    await reader.fetch_of(project, [])
    return msgspec.json.encode(
        {
            "start": format_utc(start_us),
            "end": format_utc(end_us),
            "kind": question.order,
            "calls": [_example(question.project_id, ranked.call, link) for ranked in ranking.first],
            "complete": is_complete,
        }
    )


def kept_window(question: ExamplesQuestion, now_us: int, retention: Retention) -> tuple[int, int]:
    """The part of the window of which call records are kept: where it begins and ends; empty where none is."""
    end_us = end_of_time(question.start_us, question.end_us, now_us)
    return min(max(question.start_us, calls_reach_us(now_us, retention)), end_us), end_us


async def rank_examples(
    reader: StoreReader,
    project: OpenedProject,
    question: ExamplesQuestion,
    now_us: int,
    retention: Retention,
    passes_too: Callable[[Call], bool] = lambda call: True,
    limits: RankingLimits = RANKING_LIMITS,
) -> tuple[Ranking, bool]:
    """The first calls of the kept part of the window, and whether all that might be among them were looked at.

    `passes_too`: what a started call must be beside the question's filter. Raises NotKept, TooMuchToRead, StateLost.
    """
    start_us, end_us = kept_window(question, now_us, retention)
    wanted = view_filter(question.filter)

    def passes(call: Call) -> bool:
        return (
            call.started_us is not None
            and start_us <= call.started_us < end_us
            and matches_views(call, wanted)
            and passes_too(call)
        )

    ranking = Ranking(question.order, question.limit, passes)
    if start_us >= end_us:
        return ranking, True
    if needs_calls(question.filter):
        selected = await select_calls(reader, project, question.filter, start_us, end_us)
        await rank_selected(reader, selected, ranking)
        return ranking, True

    def is_kept(slot: Slot) -> bool:
        return slot.start_us >= level_reach_us(slot.level, now_us, retention)

    covered = cover(start_us, end_us)
    # No call of a minute that the window's edges cut is beyond what the whole minute says, where that still is.
    cut = [Slot(MINUTES, minute) for minute in covered.cut_minutes]
    if gone := [slot.number for slot in cut if not is_kept(slot)]:
        await rank_selected(reader, await select_minutes(reader, project, gone), ranking)
    slots = [*_slots(covered), *filter(is_kept, cut)]
    days = range(start_us // DAY_US, (end_us - 1) // DAY_US + 1)
    views = await views_of_days(reader, project, days, wanted)
    window = Window(start_us, end_us)
    return ranking, await rank_calls(reader, views, wanted, window, slots, question.order, ranking, is_kept, limits)


def _slots(covered: Cover) -> list[Slot]:
    return [
        Slot(block.level, block.number * block.level.block_slots + slot)
        for block, within in covered.slots
        for slot in within
    ]


def _example(project_id: str, call: Call, link: Link) -> dict[str, Any]:
    assert call.started_us is not None
    call_id, cost_pico = unpack_id(call.packed_id), cost_of(call)
    input_tokens, output_tokens, total_tokens = (sum(row[at] for row in usage_of(call)) for at in range(3))
    return {
        "id": call_id,
        "trace_id": unpack_id(call.trace),
        "parent_id": None if call.parent is None else unpack_id(call.parent),
        "op_name": call.op_name,
        "wb_user_id": call.user_id,
        "wb_run_id": call.run_id,
        "started_at": format_utc(call.started_us),
        "ended_at": None if call.ended_us is None else format_utc(call.ended_us),
        "latency_ms": call.latency_ms,
        "models": sorted(call.models) if call.is_ended else [],
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": total_tokens,
        "cost": None if cost_pico is None else cost_pico / PICO_PER_DOLLAR,
        "failed": call.failed and call.ended_us is not None,
        "error": call.error if call.failed and call.is_ended else None,
        "link": link(project_id, call_id),
    }
