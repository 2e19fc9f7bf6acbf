"""What a rule asks of the api, and what the answers say: a value for each group, and whether it is beyond. Pure.

Windows are those of the page: they begin with a whole minute and end with the one that is under way, so rollups answer
them. Values are those that `/calls/breakdown`, and so `/calls/stats`, answers for the same window.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aggregator.rollups.series import CALL_METRICS
from aggregator.time_units import MINUTE_US, SECOND_US
from api.query.questions import MetricQuestion
from callmeter.alerts.rules import (
    WEEK_S,
    BurnRate,
    Change,
    Cost,
    NoCalls,
    Percentile,
    Rate,
    Ratio,
    Rule,
    Stale,
    Threshold,
)

# Groups that one rule looks at, the largest first: more at once wake nobody better.
GROUPS_MAX = 100
# Groups that a rule may miss: the most that one answer has.
SEEN_GROUPS_MAX = 1_000
_UNIT_S = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
# What tells a group's calls from others', by the filter of the other endpoints.
FILTER_OF = {"op_name": "op_names", "wb_user_id": "wb_user_ids", "wb_run_id": "wb_run_ids"}

Answer = Mapping[str, Any]


class Question(NamedTuple):
    """A question to the api: `body` is JSON."""

    path: str
    body: str


class Seen(NamedTuple):
    """What a rule saw of a group: its value (None: there is none), whether it is beyond the threshold."""

    value: float | None
    is_true: bool
    threshold: float


Group = str | None
"""The value of the dimension that a rule groups by, "" for calls without one; None: it does not group."""


class _Window(NamedTuple):
    start_us: int
    end_us: int


def window_at(at_us: int, length_s: int) -> _Window:
    """The window of a length as of an instant: from a whole minute, to the end of the minute that is under way."""
    return _Window((at_us - length_s * SECOND_US) // MINUTE_US * MINUTE_US, -(-at_us // MINUTE_US) * MINUTE_US)


def questions(rule: Rule, at_us: int) -> list[Question]:
    """Return what to ask for a rule as of an instant, in the order in which `seen` takes the answers."""
    if isinstance(rule, Stale):
        return []
    if isinstance(rule, BurnRate):
        longest, *others = [window_at(at_us, length_s) for length_s in _lengths(rule)]
        return [_question(rule, longest, (("error_count", None),), more=others)]
    if isinstance(rule, NoCalls):
        asked = [_question(rule, window_at(at_us, rule.window), (), SEEN_GROUPS_MAX)]
        if rule.group_by is not None:
            asked.append(_question(rule, window_at(at_us, rule.seen_within), (), SEEN_GROUPS_MAX))
        return asked
    if isinstance(rule, Change):
        # Whole minutes alone: a minute that is under way is less than the same minute of last week.
        end_us = at_us // MINUTE_US * MINUTE_US
        now = _Window(end_us - rule.window * SECOND_US, end_us)
        before = _Window(now.start_us - WEEK_S * SECOND_US, now.end_us - WEEK_S * SECOND_US)
        metrics = ((rule.metric, None),)
        return [_question(rule, now, metrics), _question(rule, before, metrics, SEEN_GROUPS_MAX)]
    return [_question(rule, window_at(at_us, rule.window_s), _metrics(rule))]


def _metrics(rule: Threshold | Rate | Ratio | Percentile | Cost) -> tuple[tuple[str, float | None], ...]:
    """The metrics of a rule of one window, each with the percentile of it that is asked for."""
    if isinstance(rule, Ratio):
        return tuple(dict.fromkeys(((rule.metric, None), (rule.of, None))))
    if isinstance(rule, Percentile):
        return ((rule.metric, rule.percentile),)
    return (("total_cost" if isinstance(rule, Cost) else rule.metric, None),)


def _lengths(rule: BurnRate) -> list[int]:
    """All windows of a rule, the longest first."""
    return sorted({length_s for one in rule.windows for length_s in (one.long, one.short)}, reverse=True)


def _question(
    rule: Rule,
    window: _Window,
    metrics: Sequence[tuple[str, float | None]],
    groups_max: int = GROUPS_MAX,
    more: Sequence[_Window] = (),
) -> Question:
    """Return the question about a window; `more`: about others, too, that end where it does."""
    specs = [
        {"metric": metric}
        if percentile is None
        else {"metric": metric, "aggregations": [], "percentiles": [percentile]}
        for metric, percentile in metrics
    ]
    body: dict[str, Any] = {
        "project_id": rule.project,
        "start": rfc3339(window.start_us),
        "end": rfc3339(window.end_us),
        "dimension": rule.group_by or "trace_root",  # of which there are two, beside the total
        "call_metrics": [one for one in specs if one["metric"] in CALL_METRICS],
        "usage_metrics": [one for one in specs if one["metric"] not in CALL_METRICS],
        "filter": filter_of(rule),
        "limit": groups_max,
    }
    if more:
        body["more_starts"] = [rfc3339(one.start_us) for one in more]
    return Question("/calls/breakdown", json.dumps(body, sort_keys=True))


def filter_of(rule: Rule) -> dict[str, Any] | None:
    """The rule's filter as the api takes it."""
    return None if rule.filter is None else rule.filter.model_dump(exclude_none=True)


def seen(rule: Rule, at_us: int, answers: Sequence[Answer]) -> dict[Group, Seen]:
    """Return what the answers to the rule's questions say, by group."""
    if isinstance(rule, BurnRate):
        return _burns(rule, answers[0])
    if isinstance(rule, NoCalls):
        return _missing(rule, answers)
    if isinstance(rule, Change):
        return _changes(rule, answers)
    assert not isinstance(rule, Stale)
    found: dict[Group, Seen] = {}
    for group, row in _rows(rule, answers[0]):
        value = _value(rule, row, (at_us - window_at(at_us, rule.window_s).start_us) / SECOND_US)
        found[group] = Seen(value, value is not None and rule.is_beyond(value), rule.threshold)
    return found


def staleness(rule: Stale, as_of_us: int | None, now_us: int) -> dict[Group, Seen]:
    """How old answers are, of a project whose events are counted through `as_of_us` (None: it has none yet)."""
    if as_of_us is None:
        return {}
    age_s = max(0, now_us - as_of_us) / SECOND_US
    return {None: Seen(age_s, age_s > rule.above, rule.above)}


def _value(rule: Threshold | Rate | Ratio | Percentile | Cost, row: Mapping[str, Any], span_s: float) -> float | None:
    if isinstance(rule, Ratio):
        of = _sum(row, rule.of)
        return _sum(row, rule.metric) / of if of and row["count"] >= rule.min_calls else None
    if isinstance(rule, Percentile):
        [key] = MetricQuestion(rule.metric, (), (rule.percentile,)).keys
        value: float | None = row.get(key)
        return value if row["count"] >= rule.min_calls else None
    if isinstance(rule, Threshold):
        return _sum(row, rule.metric)
    metric = "total_cost" if isinstance(rule, Cost) else rule.metric
    return _sum(row, metric) / span_s * _UNIT_S[rule.per]


def _burns(rule: BurnRate, answer: Answer) -> dict[Group, Seen]:
    """Return by group the burn rate over the short window of the pair that is told; true where any pair is beyond."""
    burns: dict[int, dict[Group, float]] = {}
    for length_s, of_window in zip(_lengths(rule), [answer, *answer.get("windows", ())], strict=True):
        burns[length_s] = {
            group: _sum(row, "error_count") / row["count"] / (1 - rule.objective)
            for group, row in _rows(rule, of_window)
            if row["count"] >= rule.min_calls
        }
    found: dict[Group, Seen] = {}
    for group in dict.fromkeys(group for of_group in burns.values() for group in of_group):
        pairs = [(one, min(burns[one.long].get(group, 0.0), burns[one.short].get(group, 0.0))) for one in rule.windows]
        beyond = [one for one, burn in pairs if burn > one.factor]
        # What is beyond the most urgent pair is told as that; else the pair that is closest.
        told = max(beyond, key=lambda one: one.factor) if beyond else max(pairs, key=lambda it: it[1] / it[0].factor)[0]
        found[group] = Seen(burns[told.short].get(group), bool(beyond), told.factor)
    return found


def _missing(rule: NoCalls, answers: Sequence[Answer]) -> dict[Group, Seen]:
    if rule.group_by is None:
        count = float(answers[0]["total"]["count"])
        return {None: Seen(count, count == 0, 0.0)}
    there = {group: float(row["count"]) for group, row in _rows(rule, answers[0])}
    before = [group for group, row in _rows(rule, answers[1]) if row["count"]]
    return {group: Seen(there.get(group, 0.0), not there.get(group), 0.0) for group in before}


def _changes(rule: Change, answers: Sequence[Answer]) -> dict[Group, Seen]:
    before = dict(_rows(rule, answers[1]))
    found: dict[Group, Seen] = {}
    for group, row in _rows(rule, answers[0]):
        was = before.get(group)
        if was is not None and was["count"] >= rule.min_calls and (sum_was := _sum(was, rule.metric)):
            change = _sum(row, rule.metric) / sum_was - 1
            found[group] = Seen(change, rule.is_beyond(change), rule.threshold)
        else:
            found[group] = Seen(None, False, rule.threshold)
    return found


def _rows(rule: Rule, answer: Answer) -> Iterator[tuple[Group, Mapping[str, Any]]]:
    if rule.group_by is None:
        yield None, answer["total"]
    else:
        yield from (("" if row["value"] is None else str(row["value"]), row) for row in answer["rows"])


def _sum(row: Mapping[str, Any], metric: str) -> float:
    return float(row.get(f"sum_{metric}") or 0.0)


def rfc3339(at_us: int) -> str:
    """An instant, in UTC."""
    return datetime.fromtimestamp(at_us / SECOND_US, UTC).isoformat().replace("+00:00", "Z")
