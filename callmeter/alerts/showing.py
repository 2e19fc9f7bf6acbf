"""Rules and their alerts as they are shown to who asks the api for them. Pure."""

from collections.abc import Mapping, Sequence

from aggregator.layout.shown_rules import ALERTS_SHOWN_MAX, ShownAlert, ShownRule, ShownRules
from callmeter.alerts.deciding import Episodes, Key, Look
from callmeter.alerts.episodes import Episode
from callmeter.alerts.rules import BurnRate, Change, Cost, NoCalls, Percentile, Rate, Ratio, Rule, Stale, Threshold
from callmeter.alerts.wording import labels_of, value_text
from callmeter.durations import format_duration


def shown_rules(file: str, interval_s: float, looks: Sequence[Look], episodes: Episodes) -> ShownRules:
    """All rules that were looked at, with no more than ALERTS_SHOWN_MAX of their alerts: first those that fire, the
    oldest before the others.
    """
    firing_first = sorted(episodes.items(), key=lambda one: (one[1].fired_us is None, one[1].began_us))
    by_rule: dict[tuple[str, str], list[tuple[Key, Episode]]] = {}
    for key, episode in firing_first[:ALERTS_SHOWN_MAX]:
        by_rule.setdefault(key[:2], []).append((key, episode))
    return ShownRules(file, interval_s, tuple(_rule(look, by_rule) for look in looks))


def _rule(look: Look, by_rule: Mapping[tuple[str, str], Sequence[tuple[Key, Episode]]]) -> ShownRule:
    rule = look.rule
    return ShownRule(
        name=rule.name,
        project=rule.project,
        condition=condition_of(rule),
        for_s=rule.for_s,
        keep_firing_for_s=rule.keep_firing_for_s,
        labels={**rule.labels, "project": rule.project, "severity": rule.severity},
        annotations={name: text for name in ("summary", "description") if (text := getattr(rule, name))},
        evaluated_us=None if look.seen is None else look.at_us,
        trouble="the api does not answer" if look.seen is None else "",
        alerts=tuple(_alert(rule, key, one) for key, one in by_rule.get((rule.name, rule.project), ())),
    )


def _alert(rule: Rule, key: Key, episode: Episode) -> ShownAlert:
    """An episode; what nobody was told of yet has no words of its own."""
    return ShownAlert(
        labels=episode.labels or labels_of(rule, key[2]),
        annotations=episode.annotations or {"value": value_text(rule, episode.value)},
        is_firing=episode.fired_us is not None,
        began_us=episode.began_us,
        value=episode.value,
    )


def condition_of(rule: Rule) -> str:
    """A rule's condition in words, such as `error_count / call_count over 5m > 0.05 by op_name`."""
    by = "" if rule.group_by is None else f" by {rule.group_by}"
    match rule:
        case Stale():
            return f"age of answers > {format_duration(rule.above)}"
        case NoCalls():
            return f"no call for {format_duration(rule.window)}{by}"
        case BurnRate():
            pairs = ", ".join(
                f"{format_duration(one.long)} and {format_duration(one.short)} > {one.factor:g}" for one in rule.windows
            )
            return f"burn rate of the error budget of {rule.objective:g} over {pairs}{by}"
    bound = f"> {rule.above:g}" if rule.above is not None else f"< {rule.below or 0:g}"
    return f"{_value(rule)} over {format_duration(rule.window_s)} {bound}{by}"


def _value(rule: Threshold | Rate | Ratio | Percentile | Cost | Change) -> str:
    match rule:
        case Ratio():
            return f"{rule.metric} / {rule.of}"
        case Percentile():
            return f"p{rule.percentile:g} of {rule.metric}"
        case Change():
            return f"change of {rule.metric} against the week before"
        case Cost():
            return f"total_cost per {rule.per}"
        case Rate():
            return f"{rule.metric} per {rule.per}"
        case Threshold():
            return rule.metric
