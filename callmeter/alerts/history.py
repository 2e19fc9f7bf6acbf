"""What rules would have told of a window of history: the same looks and the same steps, at each of its minutes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from aggregator.time_units import MINUTE_US, SECOND_US
from callmeter.alerts.deciding import Look
from callmeter.alerts.episodes import Episode, Event, Timing, over, step
from callmeter.alerts.measuring import Group, Seen
from callmeter.alerts.rules import Rule


class Fired(NamedTuple):
    """An episode that would have been told. `resolved_us`: None where it went on at the end; `worst`: its value that
    was furthest from the threshold; `unseen`: instants at which the api could not say.
    """

    rule: str
    group: Group
    fired_us: int
    resolved_us: int | None
    worst: float | None


class Replayed(NamedTuple):
    """What a rule would have told, and at how many of the instants nothing was known."""

    fired: list[Fired]
    instants: int
    unknown: int


LookAt = Callable[[Rule, int], Look]


def instants(from_us: int, to_us: int, step_s: int) -> Sequence[int]:
    """The minutes at which history is looked at, the first and the last within the window."""
    step_us = step_s * SECOND_US
    return range(-(-from_us // MINUTE_US) * MINUTE_US, to_us + 1, step_us)


def replay(rule: Rule, at: Sequence[int], look: LookAt, asking: Executor, done: Callable[[int], None]) -> Replayed:
    """Go through history with one rule; `done` is told of each instant."""
    states: dict[Group, Episode] = {}
    worst: dict[Group, float | None] = {}
    fired: list[Fired] = []
    unknown = 0
    timing = Timing(rule.for_s, rule.keep_firing_for_s)

    def end(group: Group, resolved_us: int | None) -> None:
        episode = states.pop(group)
        assert episode.fired_us is not None
        fired.append(Fired(rule.name, group, episode.fired_us, resolved_us, worst.pop(group)))

    for look_at in asking.map(lambda at_us: look(rule, at_us), at):
        done(1)
        if look_at.seen is None:
            unknown += 1
            continue
        for group in dict.fromkeys([*look_at.seen, *states]):
            seen = look_at.seen.get(group, Seen(None, False, 0.0))
            episode, event = step(states.get(group), rule.name, group, seen, timing, look_at.at_us, False)
            if event is Event.RESOLVED:
                end(group, look_at.at_us)
            elif episode is None:
                states.pop(group, None)
                worst.pop(group, None)
            else:
                states[group] = episode
                worst[group] = _worse(worst.get(group), seen)
    for group, left in list(states.items()):
        if over(left).event is not None:
            end(group, None)
    return Replayed(sorted(fired, key=lambda one: (one.fired_us, one.group or "")), len(at), unknown)


def _worse(so_far: float | None, seen: Seen) -> float | None:
    if seen.value is None or not seen.is_true:
        return so_far
    if so_far is None:
        return seen.value
    return max(so_far, seen.value, key=lambda value: abs(value - seen.threshold))
