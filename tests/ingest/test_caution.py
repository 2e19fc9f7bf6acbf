"""Caution: after a step that ended its worker, or failed, its messages are gone through in ever smaller steps."""

from aggregator.layout.attempt import Attempt
from ingest.caution import DEATHS_MAX, PARTS, Caution, Position

HERE = Position(7, 0)


def reopened(stored: Attempt | None, position: Position = HERE) -> Caution:
    """A process that finds this note."""
    caution = Caution()
    caution.opened(stored, position)
    return caution


def test_the_first_step_is_noted_and_then_none() -> None:
    """A worker that lives on notes nothing more."""
    caution = reopened(None)
    assert caution.is_noting
    caution.begin(HERE, 500)
    caution.succeeded(500)
    assert not caution.is_noting


def test_a_note_of_a_step_that_was_applied_is_stale() -> None:
    """The shard has gone on: whoever ended later did not end by that step."""
    assert reopened(Attempt(6, 0, 500, 0)).begin(HERE, 500).messages == 500


def test_deaths_lead_to_the_one_message() -> None:
    """Each process that ends leaves a smaller step to the next; the message that is alone in one is set aside."""
    note, sizes = Attempt(7, 0, 20_000, 0), []
    while not (caution := reopened(note)).sets_aside():
        note = caution.begin(HERE, 20_000)
        sizes.append(note.messages)
    assert sizes == [20_000 // PARTS, 20_000 // PARTS // PARTS, *[1] * DEATHS_MAX]


def test_what_follows_is_gone_through_with_care_up_to_where_the_step_ended() -> None:
    """Whichever of its messages it was; then steps are as large as ever."""
    caution = reopened(Attempt(7, 0, 3, 0))
    for offset in (7, 8, 9):
        assert caution.is_noting
        assert caution.begin(Position(offset, 0), 100).messages == 1
        caution.succeeded(1)
    assert not caution.is_noting
    assert caution.begin(Position(10, 0), 100).messages == 100


def test_a_failure_counts_as_a_death() -> None:
    """The process may live on after what nobody expects."""
    caution = reopened(None)
    for _ in range(DEATHS_MAX):
        caution.begin(HERE, 1)
        assert not caution.sets_aside()
        caution.failed()
    assert caution.sets_aside()
