"""What an alert says: its labels, and its annotations with value, window, as-of, link and examples. Pure."""

from collections.abc import Sequence
from urllib.parse import quote

from callmeter.alerts.measuring import FILTER_OF, Group, Seen, rfc3339, window_at
from callmeter.alerts.rule_fields import filled
from callmeter.alerts.rules import BurnRate, Change, Cost, NoCalls, Percentile, Rate, Ratio, Rule, Stale, Threshold
from callmeter.durations import format_duration

# Words of a filter in the page's address.
_PAGE_WORDS = {"op_names": "op", "wb_user_ids": "user", "wb_run_ids": "run"}
EXAMPLES = 3


def labels_of(rule: Rule, group: Group) -> dict[str, str]:
    """Return what an alert is known by: the same for all its episodes."""
    labels = {**rule.labels, "alertname": rule.name, "project": rule.project, "severity": rule.severity}
    if rule.group_by is not None and group is not None:
        labels[rule.group_by] = group
    return {name: value for name, value in labels.items() if value}


def annotations_of(
    rule: Rule, group: Group, seen: Seen, at_us: int, examples: Sequence[str], page: str
) -> dict[str, str]:
    """Return what is said of it. `page`: the address of our page; empty: there is no link."""
    words = {
        "rule": rule.name,
        "project": rule.project,
        "severity": rule.severity,
        "group": group or "",
        "value": value_text(rule, seen.value),
        "threshold": value_text(rule, seen.threshold),
        "window": format_duration(rule.window_s) if rule.window_s else "",
        "as_of": rfc3339(at_us),
        "link": link_to(rule, group, at_us, page),
        "examples": ", ".join(examples),
    }
    said = {name: words[name] for name in ("value", "threshold", "window", "as_of", "link", "examples")}
    said["summary"] = filled(rule.summary, words).strip()
    if rule.description:
        said["description"] = filled(rule.description, words).strip()
    return {name: value for name, value in said.items() if value}


def value_text(rule: Rule, value: float | None) -> str:
    """A value as people say it, with its unit."""
    if value is None:
        return "none"
    match rule:
        case Stale():
            return f"{value:,.0f} s"
        case NoCalls():
            return f"{value:,.0f} calls"
        case BurnRate():
            return f"{value:,.3g} times the budget"
        case Ratio():
            return (
                f"{100 * value:,.3g} %" if (rule.metric, rule.of) == ("error_count", "call_count") else f"{value:,.4g}"
            )
        case Change():
            return f"{100 * value:+,.3g} %"
        case Percentile():
            return f"{value:,.0f} ms" if rule.metric == "latency_ms" else _amount(rule.metric, value)
        case Cost():
            return f"{_amount('total_cost', value)} per {rule.per}"
        case Rate():
            return f"{_amount(rule.metric, value)} per {rule.per}"
        case Threshold():
            return _amount(rule.metric, value)


def _amount(metric: str, value: float) -> str:
    if metric.endswith("cost"):
        return f"${value:,.2f}" if value >= 1 else f"${value:.4g}"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.3g}"


def link_to(rule: Rule, group: Group, at_us: int, page: str) -> str:
    """The page on the rule's window, its filter and its group."""
    if not page:
        return ""
    begin_us = window_at(at_us, max(rule.window_s, 900)).start_us
    end_us = window_at(at_us, 60).end_us
    words = [("project", rule.project), ("from", rfc3339(begin_us)), ("to", rfc3339(end_us))]
    if rule.filter is not None:
        for field, word in _PAGE_WORDS.items():
            words += [(word, value) for value in getattr(rule.filter, field) or ()]
        words += [("roots", "1")] if rule.filter.trace_roots_only else []
    field_of_group = FILTER_OF.get(rule.group_by or "")
    if field_of_group is not None and group:
        words.append((_PAGE_WORDS[field_of_group], group))
    if rule.group_by is not None:
        words.append(("by", rule.group_by))
    return f"{page.rstrip('/')}/?" + "&".join(f"{word}={quote(value, safe='/:')}" for word, value in words)


def examples_kind(rule: Rule) -> str:
    """Return which calls show what a rule is about."""
    match rule:
        case Percentile():
            return "slowest" if rule.metric == "latency_ms" else "dearest" if rule.metric.endswith("cost") else "newest"
        case Cost():
            return "dearest"
        case BurnRate():
            return "failing"
        case Threshold() | Rate() | Ratio() | Change():
            if rule.metric == "error_count":
                return "failing"
            return "dearest" if rule.metric.endswith("cost") else "newest"
    return ""


def examples_window_us(rule: Rule, at_us: int) -> tuple[int, int]:
    """Return where to look for them: the newest hour of the window at most, so that calls are those that it is about
    now.
    """
    return window_at(at_us, min(max(rule.window_s, 60), 3_600))
