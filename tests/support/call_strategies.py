"""Call records for property tests: of any kind, with all that a record may have, and numbers of any size."""

import msgspec
from hypothesis import strategies as st

from aggregator.calls.call import Call, Subtree
from aggregator.calls.usage_vector import NAMES, Usage

BEGIN_US, END_US = 1_700_000_000_000_000, 1_700_000_100_000_001

edges = st.sampled_from([sign * 2**bits + at for sign in (-1, 1) for bits in (62, 63, 64) for at in (-1, 0)])
numbers = st.integers(0, 2**40)
small_or_any = st.integers(0, 3) | st.integers() | edges
times = st.integers(1_700_000_000_000_000, 1_700_000_100_000_000) | edges
ids = st.sampled_from([b"\x00", b"\x00a", b"\x01" + bytes(16), b"\x02" + bytes(8)]) | st.binary(min_size=1, max_size=18)
texts = st.sampled_from(["", "op", "\0int:7"]) | st.text(max_size=5)
models = st.sampled_from(["gpt-4o", "o3", ""])


@st.composite
def vectors(draw: st.DrawFn) -> list[int]:
    """A usage vector; its costs may follow from its tokens."""
    vector = draw(st.lists(small_or_any, min_size=len(NAMES), max_size=len(NAMES)))
    if draw(st.booleans()):
        vector[7:11] = [(vector[0] - vector[3]) * 5, vector[3] * 2, vector[4] * 7, vector[1] * 9]
    return vector


usages = st.dictionaries(models, vectors(), max_size=3)
subtrees = st.builds(Subtree, usages, st.integers(-1, 3))


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """A record of any kind: started or not, ended or not, with all that it may have."""
    seen_us = draw(times)
    started_us = draw(st.sampled_from([seen_us, seen_us, None]) | times)
    return Call(
        draw(st.integers(1, 2) | st.integers(0, 2**32)),
        draw(ids),
        seen_us,
        started_us,
        draw(st.none() | times),
        draw(st.booleans()),
        draw(st.just(b"") | ids),
        draw(st.none() | ids),
        draw(st.none() | st.integers(0, 8) | numbers | edges.filter(lambda edge: -(2**63) <= edge < 2**63)),
        draw(texts),
        draw(st.none() | texts),
        draw(st.none() | texts),
        draw(usages),
        draw(st.none() | subtrees),
        draw(st.none() | st.dictionaries(ids, subtrees, max_size=2)),
        draw(st.none() | st.lists(texts, max_size=2)),
        draw(st.booleans()),
        draw(st.none() | usages),
        draw(st.none() | texts),
        draw(st.none() | texts),
    )


frames = st.dictionaries(st.integers(0, 8) | numbers, calls(), max_size=6)


def as_sent(call: Call) -> Call:
    """A record with numbers that were ever sent: none below 0, mostly of one project, begun about the window."""
    at_us = BEGIN_US - 1 + call.seen_us % (END_US - BEGIN_US + 3)
    return msgspec.structs.replace(
        call,
        project=1 + (call.project == 2),
        seen_us=at_us,
        started_us=at_us if call.started_us == call.seen_us else call.started_us and at_us + 1,
        usage=positive(call.usage),
        subtree=call.subtree and Subtree(positive(call.subtree.usage), call.subtree.unfinished),
    )


def positive(usage: Usage) -> Usage:
    """Return the same numbers without signs."""
    return {model: list(map(abs, vector)) for model, vector in usage.items()}


@st.composite
def trees(draw: st.DrawFn) -> dict[int, Call]:
    """Records of calls that name each other as parents, mostly as a worker has them: in any order of numbers, begun and
    ended soon after each other, with totals of all that is below them; or nearly so.
    """
    size = draw(st.integers(1, 10))
    ids_of = draw(st.lists(ids | st.binary(min_size=17, max_size=17), min_size=size, max_size=size, unique=True))
    numbers_of = draw(st.permutations(range(size)))
    found: dict[int, Call] = {}
    for place, number in enumerate(numbers_of):
        begun_us = BEGIN_US + draw(st.integers(0, 40))
        above = draw(st.integers(0, max(0, place - 1)) | st.integers(0, size - 1)) if place else None
        found[number] = Call(
            1,
            ids_of[place],
            begun_us,
            begun_us,
            draw(st.none() | st.integers(begun_us - 3, begun_us + 40)),
            trace=ids_of[0] if draw(st.integers(0, 4)) else draw(ids),
            parent=None if above is None else ids_of[above],
            parent_number=None if above is None or not draw(st.integers(0, 6)) else numbers_of[above],
            usage=draw(
                st.dictionaries(models, st.lists(st.integers(0, 3), min_size=13, max_size=13), max_size=2) | usages
            ),
        )
    for number in reversed(numbers_of):
        above = found[number].parent_number
        if above is not None and above != number and found[above].trace == found[number].trace:
            total = found[above].total().copied()
            total.merge(found[number].total())
            found[above].subtree = total
    if draw(st.booleans()):
        found[draw(st.sampled_from(numbers_of))].subtree = draw(st.none() | subtrees)
    return found
