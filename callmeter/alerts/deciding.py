"""Decides what changes by what all rules saw: episodes that begin, go on and end, and who is told of it. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from aggregator.time_units import SECOND_US
from callmeter.alerts.episodes import Episode, Event, Timing, over, step
from callmeter.alerts.measuring import Group, Seen
from callmeter.alerts.notifications import Delivery, fingerprint
from callmeter.alerts.rules import Rule, RuleFile

# An episode that goes on is written again after so long, for whoever takes over; a change is written at once.
WRITE_AGAIN_US = 5 * SECOND_US
_NOTHING = Seen(None, False, 0.0)

Key = tuple[str, str, Group]
"""Rule, project, group: of these there is one episode at a time."""
Episodes = Mapping[Key, Episode]


class Look(NamedTuple):
    """What a rule saw as of an instant; `seen` None: nothing, since the api did not answer."""

    rule: Rule
    at_us: int
    seen: Mapping[Group, Seen] | None


class EpisodeEvent(NamedTuple):
    """An event of an episode that somebody is to be told of. `rule` and `seen`: None where the rule is gone."""

    event: Event
    key: Key
    episode: Episode
    at_us: int
    rule: Rule | None = None
    seen: Seen = _NOTHING


class Decision(NamedTuple):
    """The episodes from now on, and what is to be told."""

    episodes: dict[Key, Episode]
    told: list[EpisodeEvent]


def decide(file: RuleFile, episodes: Episodes, looks: Sequence[Look], now_us: int) -> Decision:
    """All rules' next states. Episodes of rules that the file has no more are over."""
    now = datetime.fromtimestamp(now_us / SECOND_US, UTC)
    after = dict(episodes)
    told: list[EpisodeEvent] = []
    for look in looks:
        if look.seen is None:
            continue
        rule, timing = look.rule, Timing(look.rule.for_s, look.rule.keep_firing_for_s)
        known = [key[2] for key in episodes if key[:2] == (rule.name, rule.project)]
        for group in dict.fromkeys([*look.seen, *known]):
            key = (rule.name, rule.project, group)
            seen = look.seen.get(group, _NOTHING)
            before = episodes.get(key)
            is_silenced = file.is_silenced(rule.name, group, now)
            episode, event = step(before, rule.name, group, seen, timing, look.at_us, is_silenced)
            if episode is None:
                after.pop(key, None)
            else:
                after[key] = episode
            if event is not None:
                about = episode or before
                assert about is not None
                told.append(EpisodeEvent(event, key, about, look.at_us, rule, seen))
    there = {(rule.name, rule.project) for rule in file.rules}
    for key, left in episodes.items():
        if key[:2] not in there:
            del after[key]
            if (event := over(left).event) is not None:
                told.append(EpisodeEvent(event, key, left, left.true_us))
    return Decision(after, told)


def deliveries_of(told: EpisodeEvent, number: int, now_us: int) -> list[Delivery]:
    """The notifications of an event, one for each receiver; `number`: of the first."""
    episode = told.episode
    assert episode.fired_us is not None
    ends_us = None if told.event is Event.FIRING else max(told.at_us, episode.fired_us)
    return [
        Delivery(
            id=f"{episode_id(episode)}-{told.event.value}-{receiver}",
            number=number + at,
            receiver=receiver,
            event=told.event,
            episode_id=episode_id(episode),
            labels=episode.labels,
            annotations=episode.annotations,
            starts_us=episode.fired_us,
            ends_us=ends_us,
            queued_us=now_us,
        )
        for at, receiver in enumerate(episode.receivers)
    ]


def firing_for(receiver: str, episodes: Episodes, now_us: int) -> list[Delivery]:
    """Return what a receiver has been told of and still fires."""
    return [
        one
        for key, episode in episodes.items()
        if episode.told_us is not None and receiver in episode.receivers
        for one in deliveries_of(EpisodeEvent(Event.FIRING, key, episode, now_us), 0, now_us)
        if one.receiver == receiver
    ]


def episode_id(episode: Episode) -> str:
    """Return an id that is equal for all that is told of one episode, and for no other."""
    return f"{fingerprint(episode.labels)}-{episode.fired_us}"


def to_write(before: Episodes, after: Episodes) -> dict[str, bytes | None]:
    """Return what of the stored episodes has to be written again, by field; None: it is over."""
    changed: dict[str, bytes | None] = {field_of(key): None for key in before if key not in after}
    for key, episode in after.items():
        if is_news(before.get(key), episode):
            changed[field_of(key)] = msgspec.json.encode(episode)
    return changed


def is_news(stored: Episode | None, episode: Episode) -> bool:
    """Whether a stored episode is too far from what it is now."""
    if stored is None or (stored.began_us, stored.fired_us, stored.told_us) != (
        episode.began_us,
        episode.fired_us,
        episode.told_us,
    ):
        return True
    return abs(episode.true_us - stored.true_us) >= WRITE_AGAIN_US


def field_of(key: Key) -> str:
    """A key as a field in Redis."""
    return json.dumps(key)


def key_of(field: str) -> Key:
    """The key that a field is."""
    rule, project, group = json.loads(field)
    return rule, project, group
