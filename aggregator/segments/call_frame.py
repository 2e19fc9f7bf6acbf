"""A frame of call records: many, sealed together, number by number; what goes in comes out.

A frame is MessagePack of the columns below, compressed. Ids, texts and usage lie in tables. What follows from other
records of the frame is not stored: the total of a call whose children are all here, and what a roll-up states where
that is its total. Only the order in which a record has its models may come out another.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from itertools import compress as chosen
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from aggregator.calls.call import Call, Subtree
from aggregator.calls.usage_vector import UNCACHED_COST, UNREAD_ROWS, Usage, add_usage
from aggregator.segments.call_table import (
    ENDED,
    FAILED,
    FIRST_TEXT,
    FLAGS,
    LINK,
    LINKED,
    NUMBER,
    OWN,
    PARENT,
    PARENT_ID,
    REST,
    ROLLS_UP,
    ROWS,
    STATES,
    TEXTS,
    TOTAL,
    TRACE,
    UNREADABLE,
    CallTable,
    Rest,
    pack_table_of_calls,
    unpack_table_of_calls,
)
from aggregator.segments.columns import Integers, pack_table
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.id_columns import pack_ids, unpack_ids
from aggregator.segments.usage_columns import fits, pack_usage, unpack_usage

_INT64 = range(-(2**63), 2**63)
_HALF = 2**62  # so that differences fit
_NO_COSTS = [0] * (UNREAD_ROWS - UNCACHED_COST)
_IDS = attrgetter("packed_id", "trace", "parent")


def pack_calls(calls: Mapping[int, Call]) -> bytes:
    """The records by number, sealed."""
    plain = {number: calls[number] for number in sorted(calls) if _is_plain(number, calls[number])}
    rest = Rest({number: call for number, call in calls.items() if number not in plain}, {}, {})
    of_all = list(plain.values())
    ids = dict.fromkeys(chain.from_iterable(map(_IDS, of_all)))
    ids.pop(None, None)
    places = {one: place for place, one in enumerate(ids)}
    own = [places[call.packed_id] for call in of_all]
    of_texts = [list(map(attrgetter(name), of_all)) for name in TEXTS]
    texts = {text: place for place, text in enumerate(dict.fromkeys(chain.from_iterable(of_texts)))}
    table = [
        _differences(list(plain)),
        _flags(plain, rest),
        [call.project for call in of_all],
        _differences(own),
        [at - places[call.trace] for at, call in zip(own, of_all, strict=True)],
        [0 if call.parent is None else at - places[call.parent] for at, call in zip(own, of_all, strict=True)],
        [0 if call.parent_number is None else number - call.parent_number for number, call in plain.items()],
        _differences([call.seen_us for call in of_all]),
        [0 if call.ended_us is None else call.ended_us - call.seen_us for call in of_all],
        [len(call.usage) for call in of_all],
        *(list(map(texts.__getitem__, column)) for column in of_texts),
    ]
    columns = CallTable(
        count=len(plain),
        table=pack_table(table),
        ids=pack_ids(list(ids)),
        texts=list(texts),
        usage=pack_usage([call.usage for call in of_all]),
        rest=REST.pack(rest),
    )
    return pack_table_of_calls(columns)


def unpack_calls(packed: bytes, wanted: Collection[int] | None = None) -> dict[int, Call]:
    """The records of a frame by number, of those wanted (None: all). Raises CorruptFrame."""
    try:
        columns = unpack_table_of_calls(packed)
        rest = REST.unpack(columns.rest)
        calls = _records(columns, rest, wanted)
    except UNREADABLE as why:
        raise CorruptFrame(str(why)) from why
    if wanted is None:
        return calls | rest.whole
    return calls | {number: call for number, call in rest.whole.items() if number in wanted}


def _differences(values: Sequence[int]) -> list[int]:
    return [value - before for value, before in zip(values, [0, *values], strict=False)]


def _is_plain(number: int, call: Call) -> bool:
    """Whether columns hold it."""
    return (
        call.started_us == call.seen_us
        and call.waiting is None
        and call.waiting_output_refs is None
        and _is_half(call.seen_us)
        and _is_half(call.ended_us)
        and _is_half(number)
        and _is_half(call.parent_number)
        and call.project in _INT64
        and fits(call.usage)
    )


def _is_half(number: int | None) -> bool:
    return number is None or -_HALF <= number < _HALF


def _flags(calls: Mapping[int, Call], rest: Rest) -> list[int]:
    """Return what each call has; the totals and what they state that do not follow go into the rest."""
    children = _children(calls.items())
    found = []
    for number, call in calls.items():
        flags = (
            ENDED * (call.ended_us is not None)
            | FAILED * call.failed
            | PARENT * (call.parent is not None)
            | LINKED * (call.parent_number is not None)
            | ROLLS_UP * call.may_roll_up
        )
        if call.subtree is not None:
            if call.subtree == _total(number, call, calls, children):
                flags |= TOTAL
            else:
                rest.totals[number] = call.subtree
        if call.stated is not None:
            if call.stated == _stated(call.total().usage):
                flags |= STATES
            else:
                rest.stated[number] = call.stated
        found.append(flags)
    return found


def _children(calls: Iterable[tuple[int, Call]]) -> dict[int, list[int]]:
    """Return by number the records that roll up to it and are numbered after it."""
    found: dict[int, list[int]] = {}
    for number, call in calls:
        if call.parent_number is not None and call.parent_number < number:
            found.setdefault(call.parent_number, []).append(number)
    return found


def _total(number: int, call: Call, calls: Mapping[int, Call], children: Mapping[int, Sequence[int]]) -> Subtree:
    """Return what the total of a call follows from, if all of its children are here."""
    total = call.own()
    for child in children.get(number, ()):
        below = calls[child]
        if below.trace != call.trace:
            continue
        if below.subtree is not None:
            total.merge(below.subtree)
        else:
            total.unfinished += below.unfinished
            add_usage(total.usage, below.usage)
    return total


def _stated(total: Usage) -> Usage:
    """Return what a roll-up states that states all that is counted: without costs."""
    return {model: [*vector[:UNCACHED_COST], *_NO_COSTS, vector[UNREAD_ROWS]] for model, vector in total.items()}


def _records(columns: CallTable, rest: Rest, wanted: Collection[int] | None) -> dict[int, Call]:
    """The records that columns hold, of those wanted. Of the others only what their totals need is looked at."""
    table = columns.rows()
    table[TRACE] = table[OWN] - table[TRACE]
    asked = needed = np.ones(columns.count, dtype=np.bool_)
    if wanted is not None:
        asked = _among(table[NUMBER], wanted)
        needed = _needed(asked, table)
    usage = unpack_usage(columns.usage, table[ROWS], needed)
    totals = _totals(table[[NUMBER, FLAGS, LINK, TRACE]][:, needed], usage, rest)
    usage = list(chosen(usage, asked[needed].tolist()))
    table = table[:, asked]
    places = table[OWN], table[TRACE], table[OWN] - table[PARENT_ID]
    ids = unpack_ids(columns.ids, np.concatenate(places))
    own_ids, traces, parents = ([ids[place] for place in of_kind.tolist()] for of_kind in places)
    found: dict[int, Call] = {}
    for row, own_id, trace, parent, of_call in zip(table.T.tolist(), own_ids, traces, parents, usage, strict=True):
        texts = [columns.texts[place] for place in row[FIRST_TEXT:]]
        call = _record(row, (own_id, trace, parent), of_call, texts)
        number, flags = row[NUMBER], row[FLAGS]
        call.subtree = totals.get(number)
        call.stated = _stated(call.total().usage) if flags & STATES else rest.stated.get(number)
        found[number] = call
    return found


def _record(row: Sequence[int], ids: tuple[bytes, bytes, bytes], usage: Usage, texts: Sequence[str | None]) -> Call:
    """A record of its columns, without its total and what it states."""
    number, flags, project, _, _, _, link, started_us, took_us, *_ = row
    op_name, user_id, run_id, error, model = texts
    own_id, trace, parent = ids
    return Call(
        project,
        own_id,
        started_us,
        started_us,
        started_us + took_us if flags & ENDED else None,
        flags & FAILED != 0,
        trace,
        parent if flags & PARENT else None,
        number - link if flags & LINKED else None,
        op_name or "",
        user_id,
        run_id,
        usage,
        may_roll_up=flags & ROLLS_UP != 0,
        error=error,
        model=model,
    )


def _among(numbers: Integers, wanted: Collection[int]) -> NDArray[np.bool_]:
    """Say of each of these numbers, which ascend, whether it is wanted."""
    asked = np.zeros(len(numbers), dtype=np.bool_)
    asked[[at for at, number in enumerate(numbers.tolist()) if number in wanted]] = True
    return asked


def _needed(asked: NDArray[np.bool_], table: Integers) -> NDArray[np.bool_]:
    """Say of each record whether it is asked for, or a total that is asked for follows from it."""
    numbers, links, has_total = table[NUMBER], table[LINK], table[FLAGS] & TOTAL != 0
    needed = new = asked
    if not (asked & has_total).any():
        return needed
    is_below = links > 0
    above = np.searchsorted(numbers, np.where(is_below, numbers - links, numbers))  # where its parent is, if it is here
    is_below &= numbers[above] == numbers - links
    while (new & has_total).any():
        new = is_below & (new & has_total)[above] & ~needed
        needed = needed | new
    return needed


def _totals(rows: Integers, usages: Sequence[Usage], rest: Rest) -> dict[int, Subtree]:
    """The totals by number, those of the last records first: what follows from them is known then.

    `rows`: by record its number, flags, how far its parent's number is from that, and the place of its trace.
    """
    found = dict(rest.totals)
    of_all = list(zip(*rows.tolist(), usages, strict=True))
    below: dict[int, list[tuple[int, int, int, Usage]]] = {}
    for number, flags, link, trace, usage in reversed(of_all):
        if flags & TOTAL:
            total = Subtree({}, int(not flags & ENDED))
            add_usage(total.usage, usage)
            for child, of_child, its_trace, its_usage in reversed(below.get(number, ())):
                if its_trace != trace:
                    continue
                if child in found:
                    total.merge(found[child])
                else:
                    total.unfinished += not of_child & ENDED
                    add_usage(total.usage, its_usage)
            found[number] = total
        if link > 0:
            below.setdefault(number - link, []).append((number, flags, trace, usage))
    return found
