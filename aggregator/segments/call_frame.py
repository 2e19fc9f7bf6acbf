"""A frame of call records: many, sealed together, number by number; what goes in comes out.

How it is stored, call_table.py says. What follows from other records of the frame is not: the total of a call whose
children are all here, and what a roll-up states where that is its total. Only the order in which a total has its models
may come out another.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from itertools import compress as chosen
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from aggregator.calls.call import Call, Subtree
from aggregator.calls.usage_vector import Usage
from aggregator.segments.call_order import order_of
from aggregator.segments.call_table import (
    ENDED,
    FAILED,
    FIRST_TEXT,
    FLAGS,
    LINKED,
    NUMBER,
    PARENT,
    PARENT_ID,
    REST,
    ROLLS_UP,
    ROWS,
    STARTED,
    STATES,
    TEXTS,
    TOTAL,
    TRACE,
    UNREADABLE,
    CallTable,
    Rest,
    index_of_ids,
    near_ms,
    pack_rows,
    pack_table_of_calls,
    unpack_rows,
    unpack_table_of_calls,
)
from aggregator.segments.call_totals import (
    add_totals,
    children_of,
    needed_rows,
    rows_above,
    stated_of,
    total_of,
)
from aggregator.segments.columns import Integers
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.id_columns import pack_ids, unpack_ids
from aggregator.segments.usage_columns import fits, pack_usage, unpack_usage

_INT64 = range(-(2**63), 2**63)
_HALF = 2**62  # so that differences fit


def pack_calls(calls: Mapping[int, Call]) -> bytes:
    """The records by number, sealed."""
    plain = {number: call for number, call in calls.items() if _is_plain(number, call)}
    rest = Rest({number: call for number, call in calls.items() if number not in plain}, {}, {})
    totals: list[Usage] = []
    in_order = _in_order(plain)
    of_all = list(in_order.values())
    ids, traces, parents = _places(of_all)
    of_texts = [list(map(attrgetter(name), of_all)) for name in TEXTS]
    texts = {text: place for place, text in enumerate(dict.fromkeys(chain.from_iterable(of_texts)))}
    table = [
        list(in_order),
        _flags(in_order, rest, totals),
        [call.project for call in of_all],
        traces,
        parents,
        [number if call.parent_number is None else call.parent_number for number, call in in_order.items()],
        [len(call.usage) for call in of_all],
        *(list(map(texts.__getitem__, column)) for column in of_texts),
        [call.seen_us for call in of_all],
        [0 if call.ended_us is None else call.ended_us - call.seen_us for call in of_all],
    ]
    rows = np.array(table, dtype=np.int64).reshape(len(table), len(of_all))
    packed_rows, times = pack_rows(rows)
    usage, of_usage = pack_usage([*(call.usage for call in of_all), *totals])
    packed_ids, of_ids, bits = pack_ids(ids, near_ms(rows, len(ids)))
    lengths, bits_of_lengths = map(list, zip(times, of_usage, of_ids, strict=True))
    packed_rest = REST.pack(rest)
    return pack_table_of_calls(
        CallTable(list(texts), packed_rest, usage, packed_ids, packed_rows, lengths, bits_of_lengths + bits)
    )


def _in_order(calls: Mapping[int, Call]) -> dict[int, Call]:
    """The records in the order of their rows."""
    traces: dict[bytes, int] = {}
    of_all = list(calls.values())
    of_traces = [traces.setdefault(call.trace, len(traces)) for call in of_all]
    numbers, starts = list(calls), [call.seen_us for call in of_all]
    order = order_of(*(np.array(column, dtype=np.int64) for column in (numbers, of_traces, starts)))
    return {numbers[at]: of_all[at] for at in order.tolist()}


def _places(calls: Sequence[Call]) -> tuple[list[bytes], list[int], list[int]]:
    """Return the ids of rows and those that are no row's; and the places of the trace and of the parent of each row."""
    places = {call.packed_id: row for row, call in enumerate(calls)}
    others: list[bytes] = []

    def place(one: bytes) -> int:
        found = places.get(one)
        if found is None:
            others.append(one)
            found = places[one] = -len(others)
        return found

    of_rows = [
        (place(call.trace), row if call.parent is None else place(call.parent)) for row, call in enumerate(calls)
    ]
    return [*(call.packed_id for call in calls), *others], [one for one, _ in of_rows], [one for _, one in of_rows]


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


def _is_plain(number: int, call: Call) -> bool:
    """Whether columns hold it."""
    seen_us = call.seen_us
    if call.started_us != seen_us or call.waiting is not None or call.waiting_output_refs is not None:
        return False
    ended_us = seen_us if call.ended_us is None else call.ended_us
    above = number if call.parent_number is None else call.parent_number
    return (
        -_HALF <= seen_us < _HALF
        and -_HALF <= ended_us < _HALF
        and -_HALF <= number < _HALF
        and -_HALF <= above < _HALF
        and call.project in _INT64
        and fits(call.usage)
        and (call.subtree is None or fits(call.subtree.usage))
    )


def _flags(calls: Mapping[int, Call], rest: Rest, totals: list[Usage]) -> list[int]:
    """Return what each call has; the totals and what they state that do not follow go into the rest, and the usage of
    these totals to the others.
    """
    children = children_of(calls)
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
            if call.subtree == total_of(call, children.get(number, ())):
                flags |= TOTAL
            else:
                rest.totals[number] = call.subtree.unfinished, len(call.subtree.usage)
                totals.append(call.subtree.usage)
        if call.stated is not None:
            if call.stated == stated_of(call.total().usage):
                flags |= STATES
            else:
                rest.stated[number] = call.stated
        found.append(flags)
    return found


def _records(columns: CallTable, rest: Rest, wanted: Collection[int] | None) -> dict[int, Call]:
    """The records that columns hold, of those wanted. Of the others only what their totals need is looked at."""
    table = unpack_rows(columns.rows, columns.of_times)
    count = table.shape[1]
    asked = needed = np.ones(count, dtype=np.bool_)
    if wanted is not None:
        asked = needed = np.zeros(count, dtype=np.bool_)
        asked[[row for row, number in enumerate(table[NUMBER].tolist()) if number in wanted]] = True
    totals_follow = (asked & (table[FLAGS] & TOTAL != 0)).any()
    if totals_follow:
        above = rows_above(table)
        needed = needed_rows(asked, table[FLAGS], above)
    usage, totals = _usage(columns, table, rest, needed)
    if totals_follow:
        add_totals(totals, table, above, needed, usage)
    usage = list(chosen(usage, asked[needed].tolist()))
    (rows,) = asked.nonzero()
    places = [rows, *(index_of_ids(table[of_kind][rows], count) for of_kind in (TRACE, PARENT_ID))]
    times, bits_of_ids = columns.of_ids
    ids = unpack_ids(columns.ids, times, near_ms(table, columns.ids.count), bits_of_ids, np.concatenate(places))
    own_ids, traces, parents = ([ids[place] for place in of_kind.tolist()] for of_kind in places)
    found: dict[int, Call] = {}
    for row, own_id, trace, parent, of_call in zip(
        table[:, rows].T.tolist(), own_ids, traces, parents, usage, strict=True
    ):
        texts = [columns.texts[place] for place in row[FIRST_TEXT:STARTED]]
        call = _record(row, (own_id, trace, parent), of_call, texts)
        number, flags = row[NUMBER], row[FLAGS]
        call.subtree = totals.get(number)
        call.stated = stated_of(call.total().usage) if flags & STATES else rest.stated.get(number)
        found[number] = call
    return found


def _usage(
    columns: CallTable, table: Integers, rest: Rest, needed: NDArray[np.bool_]
) -> tuple[list[Usage], dict[int, Subtree]]:
    """The usage of needed rows, and those of their totals that are stored, by number."""
    numbers = set(table[NUMBER][needed].tolist())
    stored = {number: unfinished for number, (unfinished, _) in rest.totals.items() if number in numbers}
    sizes = np.append(table[ROWS], np.array([size for _, size in rest.totals.values()], dtype=np.int64))
    with_totals = np.append(needed, np.array([number in numbers for number in rest.totals], dtype=np.bool_))
    usage = unpack_usage(columns.usage, columns.of_usage, sizes, with_totals)
    of_rows, of_totals = usage[: len(usage) - len(stored)], usage[len(usage) - len(stored) :]
    return of_rows, {
        number: Subtree(of_total, unfinished)
        for (number, unfinished), of_total in zip(stored.items(), of_totals, strict=True)
    }


def _record(row: Sequence[int], ids: tuple[bytes, bytes, bytes], usage: Usage, texts: Sequence[str | None]) -> Call:
    """A record of its columns, without its total and what it states."""
    _, flags, project, _, _, parent_number, *_, started_us, took_us = row
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
        parent_number if flags & LINKED else None,
        op_name or "",
        user_id,
        run_id,
        usage,
        may_roll_up=flags & ROLLS_UP != 0,
        error=error,
        model=model,
    )
