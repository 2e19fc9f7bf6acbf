"""An alert's life: from a condition that begins to be true, to somebody told, to it being over and told again. Pure.

An episode is one such life of one rule and group. Whoever is told of an episode is told once when it fires and once
when it is resolved; the steps say when, as functions of what was seen and the instant it was seen as of.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from aggregator.time_units import SECOND_US
from callmeter.alerts.measuring import Group, Seen


class Event(StrEnum):
    """What somebody is to be told."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Timing(NamedTuple):
    """How long a condition must be true before it fires, and how long it must be over before that is said."""

    for_s: int
    keep_firing_for_s: int


class Episode(msgspec.Struct, frozen=True):
    """One life of an alert. Instants are microseconds since 1970, by the time that answers are as of.

    `began_us`: since when the condition is true; `true_us`: when it was last seen to be; `fired_us` and `told_us`: when
    it had been for long enough, and when that was told. `labels`, `annotations` and `receivers` are those it was told
    with: they are told again when it is over, whatever the rules say then.
    """

    rule: str
    group: Group
    began_us: int
    true_us: int
    value: float | None
    fired_us: int | None = None
    told_us: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    receivers: tuple[str, ...] = ()


class Step(NamedTuple):
    """An episode after a look (None: there is none any more), and what is to be told of it."""

    episode: Episode | None
    event: Event | None


def step(
    episode: Episode | None, rule: str, group: Group, seen: Seen, timing: Timing, at_us: int, is_silenced: bool
) -> Step:
    """The next state of a rule and group, by what was seen as of `at_us`. What is not known changes nothing."""
    if not seen.is_true:
        return _not_true(episode, timing, at_us)
    if episode is None:
        episode = Episode(rule, group, at_us, at_us, seen.value)
    else:
        episode = msgspec.structs.replace(episode, true_us=max(at_us, episode.true_us), value=seen.value)
    if episode.fired_us is None and at_us - episode.began_us >= timing.for_s * SECOND_US:
        episode = msgspec.structs.replace(episode, fired_us=at_us)
    return _told(episode, at_us, is_silenced)


def _not_true(episode: Episode | None, timing: Timing, at_us: int) -> Step:
    if episode is None or episode.fired_us is None:
        return Step(None, None)
    if at_us - episode.true_us < timing.keep_firing_for_s * SECOND_US:
        return Step(episode, None)
    return over(episode)


def _told(episode: Episode, at_us: int, is_silenced: bool) -> Step:
    """Somebody is told of what fires, once, and not while that is silenced."""
    if episode.fired_us is None or episode.told_us is not None or is_silenced:
        return Step(episode, None)
    return Step(msgspec.structs.replace(episode, told_us=at_us), Event.FIRING)


def over(episode: Episode) -> Step:
    """The end of an episode: told where its beginning was."""
    return Step(None, Event.RESOLVED if episode.told_us is not None else None)
