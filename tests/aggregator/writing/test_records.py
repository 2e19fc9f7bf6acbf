"""Records at hand: found by id, numbered on, bounded."""

from aggregator.calls.call import Call
from aggregator.layout.keys import id_field
from aggregator.writing.records import Records


def test_numbers_go_on() -> None:
    """A new id gets the next number, a known one keeps its own; the same id in another project is another record."""
    records = Records({}, 256)
    assert records.at(id_field(1, b"a"), 5)[0] == 256
    assert records.at(id_field(2, b"a"), 6)[0] == 257
    assert records.at(id_field(1, b"a"), 7) == (256, Call(1, b"a", 5))
    assert records.next_number == 258


def test_projects_are_numbered_from_one() -> None:
    """Known ones keep their number."""
    records = Records({"p": 1, "q": 2}, 0)
    assert [records.project(name) for name in ("q", "new", "p", "newer", "new")] == [2, 3, 1, 4, 3]


def test_trim_keeps_what_was_used_last() -> None:
    """Trimming six records to three keeps those used last; a forgotten record is not found by its id either."""
    records = Records({}, 0)
    for number in range(6):
        records.at(id_field(1, bytes([number])), 0)
    records.trim([1, 0], 3)
    assert list(records.calls) == [5, 1, 0]
    assert sorted(records.numbers) == [id_field(1, bytes([number])) for number in (0, 1, 5)]
    records.trim([0], 2)
    assert list(records.calls) == [1, 0]


def test_trim_never_forgets_what_was_just_used_before_it_must() -> None:
    """Trimming forgets nothing while there is room; numbers that were used but are not here do no harm."""
    records = Records({}, 0)
    records.at(id_field(1, b"a"), 0)
    records.trim([0, 99], 1)
    assert list(records.calls) == [0]


def test_put_and_forget() -> None:
    """A loaded record is found by its id; forgetting what is not here does nothing."""
    records = Records({}, 10)
    call = Call(3, b"x", 1)
    records.put(4, call)
    assert records.at(id_field(3, b"x"), 9) == (4, call)
    records.forget(4)
    records.forget(4)
    assert (records.calls, records.numbers) == ({}, {})
