"""Looks become notifications: rules and groups that are gone, silences, what is not known, what is stored."""

from datetime import UTC, datetime

import msgspec
import pytest

from aggregator.time_units import SECOND_US
from callmeter.alerts.deciding import Episodes, Look, decide, deliveries_of, field_of, firing_for, key_of, to_write
from callmeter.alerts.episodes import Event
from callmeter.alerts.measuring import Group, Seen
from callmeter.alerts.rules import RuleFile
from tests.callmeter.alerts.rule_files import PROJECT, rule_file

AT_US = 1_800_000_000 * SECOND_US
ERRORS = {"name": "errors", "kind": "ratio", "window": "5m", "above": 0.05, "group_by": "op_name"}
STALE = {"name": "stale", "kind": "stale", "above": "1m"}


def looks(file: RuleFile, at_us: int, **values: float | None) -> list[Look]:
    """Returns what the first rule saw of some ops."""
    seen: dict[Group, Seen] = {
        op: Seen(value, value is not None and value > 0.05, 0.05) for op, value in values.items()
    }
    return [Look(file.rules[0], at_us, seen)]


def told(file: RuleFile, episodes: Episodes, seen: list[Look], now_us: int) -> tuple[Episodes, list[tuple[str, Event]]]:
    """The episodes after looks, and what is told of which group."""
    decided = decide(file, episodes, seen, now_us)
    return decided.episodes, [(str(one.key[2]), one.event) for one in decided.told]


def test_each_group_by_itself() -> None:
    """Each group fires by itself, one after another; a group that is not there any more is over."""
    file = rule_file(ERRORS)
    episodes, events = told(file, {}, looks(file, AT_US, a=0.5, b=0.01), AT_US)
    assert events == [("a", Event.FIRING)]
    episodes, events = told(file, episodes, looks(file, AT_US + 1, a=0.5, b=0.5), AT_US)
    assert events == [("b", Event.FIRING)]
    episodes, events = told(file, episodes, looks(file, AT_US + 2, b=0.5), AT_US)
    assert events == [("a", Event.RESOLVED)]
    episodes, events = told(file, episodes, looks(file, AT_US + 3, b=None), AT_US)
    assert events == [("b", Event.RESOLVED)]
    assert not episodes


def test_what_is_not_known_changes_nothing() -> None:
    """The api did not answer one rule; the others go on."""
    file = rule_file(ERRORS, STALE)
    episodes, _ = told(file, {}, looks(file, AT_US, a=0.5), AT_US)
    stale = Look(file.rules[1], AT_US, {None: Seen(90.0, True, 60)})
    after, events = told(file, episodes, [Look(file.rules[0], AT_US, None), stale], AT_US)
    assert events == [("None", Event.FIRING)]
    assert set(after) == {("errors", PROJECT, "a"), ("stale", PROJECT, None)}


def test_a_rule_that_is_gone() -> None:
    """Alerts of a rule that is gone are over, though nobody looks at it; also where it is another project's now."""
    file = rule_file(ERRORS)
    episodes, _ = told(file, {}, looks(file, AT_US, a=0.5), AT_US)
    assert told(rule_file(STALE), episodes, [], AT_US) == ({}, [("a", Event.RESOLVED)])
    assert told(rule_file(ERRORS | {"project": "acme/other"}), episodes, [], AT_US) == ({}, [("a", Event.RESOLVED)])


@pytest.mark.parametrize("group", [None, "a"])
def test_a_silence(group: str | None) -> None:
    """Nobody is told while it lasts; at its end of what still fires."""
    until = datetime.fromtimestamp(AT_US / SECOND_US + 60, UTC)
    silence = {"rule": "errors", "until": until} | ({"group": group} if group else {})
    file = rule_file(ERRORS, silences=[silence])
    episodes, events = told(file, {}, looks(file, AT_US, a=0.5, b=0.5), AT_US)
    assert events == ([("b", Event.FIRING)] if group else [])
    later_us = AT_US + 60 * SECOND_US
    _, events = told(file, episodes, looks(file, later_us, a=0.5, b=0.5), later_us)
    assert events == [("a", Event.FIRING), *([] if group else [("b", Event.FIRING)])]


def test_what_is_stored() -> None:
    """Changes at once, the end too; that it goes on only now and then."""
    file = rule_file(ERRORS)
    first, _ = told(file, {}, looks(file, AT_US, a=0.5), AT_US)
    [key] = first
    assert key_of(field_of(key)) == key
    assert set(to_write({}, first)) == {field_of(key)}
    second, _ = told(file, first, looks(file, AT_US + SECOND_US, a=0.6), AT_US)
    assert to_write(first, second) == {}
    late, _ = told(file, first, looks(file, AT_US + 5 * SECOND_US, a=0.6), AT_US)
    assert set(to_write(first, late)) == {field_of(key)}
    assert to_write(first, {}) == {field_of(key): None}


def test_notifications_have_ids_of_their_own() -> None:
    """A notification's id is that of its episode, event and receiver; alerts that fire are told again to those who know
    of them."""
    hooks = [{"name": name, "type": "webhook", "url": "http://127.0.0.1:1"} for name in ("x", "y")]
    file = rule_file(ERRORS, receivers=hooks)
    decided = decide(file, {}, looks(file, AT_US, a=0.5), AT_US)
    [one] = decided.told
    one = one._replace(episode=msgspec.structs.replace(one.episode, receivers=("x", "y")))
    made = deliveries_of(one, 7, AT_US)
    over = deliveries_of(one._replace(event=Event.RESOLVED), 9, AT_US)
    assert [(each.receiver, each.number) for each in made] == [("x", 7), ("y", 8)]
    assert len({each.id for each in (*made, *over)}) == 4
    assert [each.id for each in firing_for("y", {one.key: one.episode}, AT_US)] == [made[1].id]
    assert firing_for("z", {one.key: one.episode}, AT_US) == []
