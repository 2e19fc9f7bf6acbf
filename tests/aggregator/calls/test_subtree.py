"""Subtree totals: the same whatever comes first, each call once, at any depth and width, and never in a ring."""

import random
from collections.abc import Sequence

import pytest

from aggregator.calls.call import Call, Subtree
from aggregator.calls.event import Event
from aggregator.calls.packed_id import pack_id, unpack_id
from aggregator.calls.subtree import SubtreeChanges, closes_ring
from aggregator.layout.keys import id_field
from aggregator.writing.records import Records
from tests.support.folding import PROJECT, complete, end, fold, fold_in_memory, start, tokens
from tests.support.vectors import vector

USAGE = {"m": tokens(1)}


def total(records: Records, call_id: str) -> tuple[int, int]:
    """Input tokens and unfinished calls of a subtree."""
    subtree = record(records, call_id).total()
    return sum(numbers[0] for numbers in subtree.usage.values()), subtree.unfinished


def record(records: Records, call_id: str) -> Call:
    _, call = records.at(id_field(records.projects[PROJECT], pack_id(call_id)), 0)
    return call


def chain(length: int) -> list[Event]:
    """Calls 0..length-1, each the parent of the next."""
    return [
        complete(str(number), usage=USAGE, parent_id=str(number - 1) if number else None) for number in range(length)
    ]


def folded(events: Sequence[Event], batch_size: int | None = None) -> Records:
    size = batch_size or len(events)
    return fold_in_memory([events[at : at + size] for at in range(0, len(events), size)])


TREE = [
    start("root"),
    start("left", parent_id="root"),
    start("right", parent_id="root"),
    start("leaf", parent_id="left"),
    end("leaf", usage={"m": tokens(8), "n": tokens(0, 3)}),
    end("left", usage={"m": tokens(4)}),
    end("right", usage={"m": tokens(2)}),
    end("root", usage={"m": tokens(1)}),
]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_totals_in_any_order(seed: int, batch_size: int) -> None:
    """Child before parent, end before start, in any batches: root 15, left 12, right 2, leaf 8, none unfinished."""
    records = folded(random.Random(seed).sample(TREE, len(TREE)), batch_size)
    assert [total(records, name) for name in ("root", "left", "right", "leaf")] == [(15, 0), (12, 0), (2, 0), (8, 0)]
    assert record(records, "root").total().usage == {"m": vector([15, 0, 15, 0, 0, 4]), "n": vector([0, 3, 3, 0, 0, 1])}


@pytest.mark.parametrize("seed", range(10))
def test_unfinished_in_any_order(seed: int) -> None:
    """Root has two unfinished calls at or below it, left one, right none, where root and leaf have no end."""
    events = [event for event in TREE if event.start or event.call_id not in ("root", "leaf")]
    records = folded(random.Random(seed).sample(events, len(events)), 2)
    assert [total(records, name)[1] for name in ("root", "left", "right", "leaf")] == [2, 1, 0, 1]


def test_a_parent_that_never_comes() -> None:
    """Usage of the children of a parent that never comes waits, by trace, and is in no call's total."""
    records = folded([complete("a", usage=USAGE, parent_id="gone"), start("b", parent_id="gone", trace_id="other")])
    gone = record(records, "gone")
    assert gone.started_us is None
    assert gone.waiting == {
        pack_id("trace"): Subtree({"m": vector([1, 0, 1, 0, 0, 1])}),
        pack_id("other"): Subtree({}, 1),
    }
    assert gone.total() == Subtree()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_parent_takes_what_its_own_trace_brought(batch_size: int) -> None:
    """A parent takes over the child of its own trace that came before it; a child of another trace stays apart."""
    events = [
        complete("mine", usage={"m": tokens(2)}, parent_id="p"),
        complete("other", usage={"m": tokens(4)}, parent_id="p", trace_id="other"),
        complete("p", usage={"m": tokens(1)}),
    ]
    records = folded(events, batch_size)
    assert total(records, "p") == (3, 0)
    assert record(records, "p").waiting is None


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_child_of_another_trace_does_not_count(batch_size: int) -> None:
    """A child of another trace does not count, even where it comes after its parent."""
    records = folded([complete("p", usage=USAGE), complete("c", usage=USAGE, parent_id="p", trace_id="x")], batch_size)
    assert total(records, "p") == (1, 0)


def test_a_call_without_trace_is_a_trace() -> None:
    """The id of a call without trace is the trace that its children name."""
    records = folded(
        [complete("p", usage=USAGE, trace_id=None), complete("c", usage=USAGE, parent_id="p", trace_id="p")]
    )
    assert total(records, "p") == (2, 0)


def test_a_call_that_is_its_own_parent() -> None:
    """Counts once, as a call that is no root but has no parent to roll up to."""
    records = folded([start("a", parent_id="a"), end("a", usage=USAGE)])
    assert total(records, "a") == (1, 0)
    assert record(records, "a").parent == pack_id("a")
    assert record(records, "a").parent_number is None


@pytest.mark.parametrize("length", [2, 3, 10])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_ring_is_cut_where_it_closes(length: int, batch_size: int) -> None:
    """A ring of calls that name each other is cut by the last start, which becomes the top."""
    starts = [start(str(number), parent_id=str((number - 1) % length)) for number in range(length)]
    ends = [end(str(number), usage=USAGE) for number in range(length)]
    records = folded(starts + ends, batch_size)
    # The last call's own link, to the one before it, is the one left out; 0 hangs below it, 1 below 0, and so on.
    assert [total(records, str(number))[0] for number in range(length)] == [
        *range(length - 1, 0, -1),
        length,
    ]


def test_rings_through_another_trace_are_none() -> None:
    """A link between traces rolls nothing up, so it closes nothing."""
    events = [
        complete("a", usage=USAGE, parent_id="b", trace_id="x"),
        complete("b", usage=USAGE, parent_id="a", trace_id="y"),
        complete("c", usage=USAGE, parent_id="a", trace_id="x"),
    ]
    records = folded(events)
    assert [total(records, name)[0] for name in "abc"] == [2, 1, 1]


def test_closes_ring() -> None:
    """A start closes a ring only where a walk up from its parent, through started calls of the trace, meets the
    call."""

    def call(name: str, parent: int | None, trace: bytes = b"t", started: bool = True) -> Call:
        return Call(1, name.encode(), 0, started_us=0 if started else None, trace=trace, parent_number=parent)

    calls = {0: call("a", 1), 1: call("b", 2), 2: call("c", None), 3: call("d", None, started=False), 4: call("e", 2)}
    assert closes_ring(calls, 2, 0)
    assert closes_ring(calls, 2, 2)
    assert not closes_ring(calls, 4, 0)
    assert not closes_ring(calls, 2, 3)
    calls[1].trace = b"other"
    assert not closes_ring(calls, 2, 0)


def test_roll_up_tells_what_was_unfinished_before() -> None:
    """A roll-up tells of every call that it changes how many calls at or below it had no end before."""
    calls = {
        0: Call(1, b"root", 0, started_us=0, subtree=Subtree({}, 2)),
        1: Call(1, b"child", 0, started_us=0, ended_us=1, parent_number=0, usage={"m": vector([5] * 6)}),
        2: Call(1, b"late", 0, started_us=None),
    }
    changes = SubtreeChanges()
    changes.own[1] = Subtree({"m": vector([5] * 6)}, -1)
    assert changes.roll_up(calls, lambda call, own, stated: own) == {1: 1, 0: 2}
    assert calls[0].subtree == Subtree({"m": vector([5] * 6)}, 1)
    assert calls[1].subtree is None


@pytest.mark.parametrize(
    ("order", "batch_size"), [("children first", 10_000), ("children first", 500), ("parents first", 5_000)]
)
def test_a_deep_chain(order: str, batch_size: int) -> None:
    """10,000 generations, in one batch or several, either end first, without recursion."""
    records = folded(chain(10_000)[:: 1 if order == "parents first" else -1], batch_size)
    assert [total(records, name)[0] for name in ("0", "1", "5000", "9999")] == [10_000, 9_999, 5_000, 1]


def test_a_deep_chain_in_disorder() -> None:
    """A deep chain of calls comes to the same totals when its events are shuffled."""
    records = folded(random.Random(1).sample(chain(10_000), 10_000), 5_000)
    assert [total(records, name)[0] for name in ("0", "1", "5000", "9999")] == [10_000, 9_999, 5_000, 1]


def test_a_call_with_many_children() -> None:
    """100,000 children in batches of 5,000; their parent comes in the middle."""
    children = [complete(f"c{number}", usage=USAGE, parent_id="p") for number in range(100_000)]
    records = folded([*children[:52_000], start("p"), *children[52_000:], end("p", usage=USAGE)], 5_000)
    assert total(records, "p") == (100_001, 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_roll_ups_that_state_less_than_is_below_them(seed: int, batch_size: int) -> None:
    """Each roll-up that states too little is found once, in any order: root states 9 of 12, mid another model than its
    leaf, fine all there is."""
    tree = [
        start("root"),
        start("fine", parent_id="root"),
        complete("one", usage={"m": tokens(8)}, parent_id="fine"),
        start("mid", parent_id="root"),
        complete("two", usage={"n": tokens(4)}, parent_id="mid"),
        end("fine", usage={"m": tokens(8)}, may_roll_up=True),
        end("mid", usage={"m": tokens(1)}, may_roll_up=True),
        end("root", usage={"m": tokens(9), "n": tokens(3)}, may_roll_up=True),
        end("root", usage={"m": tokens(9), "n": tokens(3)}, may_roll_up=True),
    ]
    events = random.Random(seed).sample(tree, len(tree))
    records = Records({}, 0)
    changes = [fold(records, events[at : at + batch_size]) for at in range(0, len(events), batch_size)]
    assert sum(one.counters["rollups_short"] for one in changes) == 2
    examples = {unpack_id(one.short_rollup.packed_id) for one in changes if one.short_rollup is not None}
    assert examples
    assert examples <= {"mid", "root"}
