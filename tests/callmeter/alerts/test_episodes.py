"""Episodes: whatever is seen in whatever order, firing and resolved alternate, and come when the rule says."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.time_units import SECOND_US
from callmeter.alerts.episodes import Episode, Event, Timing, over, step
from callmeter.alerts.measuring import Seen

TIMINGS = st.builds(Timing, st.integers(0, 5), st.integers(0, 5))
# Seconds until the next look, what is seen (None: the api did not answer), and whether it is silenced.
LOOKS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([True, False, None]), st.booleans()), max_size=40)


def seen(is_true: bool) -> Seen:
    """Something beyond a threshold of 1, or not."""
    return Seen(2.0 if is_true else 0.0, is_true, 1.0)


def run(timing: Timing, looks: list[tuple[int, bool | None, bool]]) -> list[tuple[Event, int]]:
    """The events of looks at a rule, with the second of each."""
    episode: Episode | None = None
    at_s, told = 100, []
    for pause_s, is_true, is_silenced in looks:
        at_s += pause_s
        if is_true is None:
            continue
        episode, event = step(episode, "errors", None, seen(is_true), timing, at_s * SECOND_US, is_silenced)
        if event is not None:
            told.append((event, at_s))
    return told


@given(TIMINGS, LOOKS)
def test_firing_and_resolved_alternate(timing: Timing, looks: list[tuple[int, bool | None, bool]]) -> None:
    """An alert alternates: one firing, then one resolved, and so on."""
    events = [event for event, _ in run(timing, looks)]
    assert events == [Event.FIRING, Event.RESOLVED] * (len(events) // 2) + [Event.FIRING] * (len(events) % 2)


@given(TIMINGS, LOOKS)
def test_when_they_come(timing: Timing, looks: list[tuple[int, bool | None, bool]]) -> None:
    """Episodes come when an independent reading of the rule says so: true for long enough, over for long enough,
    silences in between."""
    expected: list[tuple[Event, int]] = []
    began_s = last_true_s = None
    fired = told = False
    at_s = 100
    for pause_s, is_true, is_silenced in looks:
        at_s += pause_s
        if is_true is True:
            began_s, last_true_s = at_s if began_s is None else began_s, at_s
            fired = fired or at_s - began_s >= timing.for_s
            if fired and not told and not is_silenced:
                told = True
                expected.append((Event.FIRING, at_s))
        elif is_true is False and began_s is not None:
            assert last_true_s is not None
            if not fired or at_s - last_true_s >= timing.keep_firing_for_s:
                expected += [(Event.RESOLVED, at_s)] if told else []
                began_s, last_true_s, fired, told = None, None, False, False
    assert run(timing, looks) == expected


def test_time_that_goes_back_tells_nothing_new() -> None:
    """Redis forgot what it was as of: what fires goes on firing."""
    timing = Timing(0, 10)
    episode, event = step(None, "errors", None, seen(True), timing, 100 * SECOND_US, False)
    assert event is Event.FIRING
    again, event = step(episode, "errors", None, seen(True), timing, 40 * SECOND_US, False)
    assert event is None
    assert again is not None
    assert step(again, "errors", None, seen(False), timing, 50 * SECOND_US, False) == (again, None)


def test_the_end_of_what_was_never_told() -> None:
    """Silenced all along, nobody hears of its end either."""
    episode, event = step(None, "errors", None, seen(True), Timing(0, 0), 100 * SECOND_US, True)
    assert event is None
    assert episode is not None
    assert over(episode).event is None
    assert step(episode, "errors", None, seen(False), Timing(0, 0), 101 * SECOND_US, False) == (None, None)
