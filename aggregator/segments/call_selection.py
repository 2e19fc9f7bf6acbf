"""Calls of frames, and others, selected and gathered as columns: no record is made of what is only counted."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import Usage
from aggregator.rollups.call_columns import MODEL_NAMED, NO_LATENCY, CallColumns
from aggregator.rollups.series import PackedRows, Row, pack_usage, pack_vectors, unpack_packed, usage_row
from aggregator.rollups.views import ViewFilter, matches_any
from aggregator.segments.call_frame import unpack_calls
from aggregator.segments.call_table import (
    ENDED,
    FAILED,
    FIRST_TEXT,
    FLAGS,
    NUMBER,
    PARENT,
    PROJECT,
    REST,
    ROWS,
    STARTED,
    STATES,
    TEXTS,
    TOOK,
    UNREADABLE,
    CallTable,
    Rest,
    unpack_rows,
    unpack_table_of_calls,
)
from aggregator.segments.columns import Integers
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.usage_columns import unpack_vectors

MS_US = 1_000


class WantedCalls(NamedTuple):
    """Which calls: of a project, that began in `[start_us, end_us)`, with the values that are asked for.

    `usage`: whether their usage is wanted; `trees`: that of roots with all that is below them instead of their own.
    `models`: whether the models are wanted that each belongs to.
    """

    project: int
    start_us: int
    end_us: int
    views: ViewFilter
    usage: bool
    trees: bool
    models: bool = False


class _Part(NamedTuple):
    """The calls of one frame, or some others: as in CallColumns, but for the names."""

    started_us: Integers
    took: Integers
    flags: Integers
    texts: Integers
    belong_calls: Integers
    belong_models: Integers
    usage_calls: Integers
    usage_models: Integers
    usage_rows: PackedRows


class CallSelection:
    """Gathers those calls that are wanted."""

    def __init__(self, wanted: WantedCalls) -> None:
        self._wanted = wanted
        self._parts: list[_Part] = []
        self._large: list[tuple[int, int, Row]] = []
        self._count = 0
        self._places: dict[str | None, int] = {}
        op_names, _, user_ids, run_ids = wanted.views
        # Of a text it is found out once whether it passes.
        self._tests: list[Callable[[str | None], bool] | None] = [
            None if op_names is None else cache(lambda name: name is not None and matches_any(name, op_names)),
            None if user_ids is None else frozenset(user_ids).__contains__,
            None if run_ids is None else frozenset(run_ids).__contains__,
        ]

    def add_frame(self, packed: bytes, but_not: Collection[int]) -> None:
        """Take in the calls of a frame, without those of some numbers. Raises CorruptFrame."""
        try:
            frame = unpack_table_of_calls(packed)
            rest = REST.unpack(frame.rest)
            self._add_table(packed, frame, rest, but_not)
        except UNREADABLE as why:
            raise CorruptFrame(str(why)) from why
        self.add_calls([call for number, call in rest.whole.items() if number not in but_not])

    def add_calls(self, calls: Iterable[Call]) -> None:
        """Take in some calls."""
        found = [call for call in calls if self._is_wanted(call)]
        if not found:
            return
        flags = [
            ENDED * call.is_ended
            | FAILED * call.failed
            | PARENT * (call.parent is not None)
            | STATES * (call.stated is not None)
            for call in found
        ]
        texts = [
            [self._place(text) for text in (call.op_name, call.user_id, call.run_id, call.error, call.model)]
            for call in found
        ]
        latencies = [NO_LATENCY if call.latency_ms is None else call.latency_ms for call in found]
        self._add(
            _integers([call.started_us or 0 for call in found]),
            _integers(latencies),
            _integers(flags),
            _integers(texts).T,
            self._models_of(found),
            self._usage_of(dict(enumerate(map(self._counted, found)))),
        )

    def columns(self) -> CallColumns:
        """Return all that was taken in."""
        parts = self._parts or [_NOTHING]
        started_us, latency_ms, flags, texts, belong_calls, belong_models, calls, models, rows = (
            np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)
        )
        return CallColumns(
            started_us,
            latency_ms,
            flags & PARENT == 0,
            flags & ENDED != 0,
            flags & FAILED != 0,
            texts,
            belong_calls,
            belong_models,
            calls,
            models,
            rows,
            self._large,
            list(self._places),
        )

    def _add_table(self, packed: bytes, frame: CallTable, rest: Rest, but_not: Collection[int]) -> None:
        """Take in the calls that a frame holds as columns."""
        table = unpack_rows(frame.rows, frame.of_times)
        is_in = self._are_wanted(frame, table)
        if but_not:
            is_in &= ~np.isin(table[NUMBER], list(but_not))
        if not is_in.any():
            return
        ours = table[:, is_in]
        started_us, flags = ours[STARTED], ours[FLAGS]
        if rest.stated:
            flags[np.isin(ours[NUMBER], list(rest.stated))] |= STATES
        is_ended = flags & ENDED != 0
        latency_ms = (started_us + ours[TOOK]) // MS_US - started_us // MS_US
        latency_ms[~is_ended | (latency_ms < 0)] = NO_LATENCY
        places = _integers([self._place(text) for text in frame.texts])
        texts = places[ours[FIRST_TEXT : FIRST_TEXT + len(TEXTS)]]
        belonging, usage = _NO_MODELS, _NO_USAGE
        if self._wanted.models:
            belonging = self._model_columns(frame, table, is_in, flags, texts[MODEL_NAMED])
        if self._wanted.trees and self._wanted.usage:
            numbers = ours[NUMBER].tolist()
            calls = unpack_calls(packed, set(numbers))
            usage = self._usage_of({at: self._counted(calls[number]) for at, number in enumerate(numbers)})
        elif self._wanted.usage:
            usage = self._usage_columns(frame, table[ROWS], is_in, is_ended)
        self._add(started_us, latency_ms, flags, texts, belonging, usage)

    def _are_wanted(self, frame: CallTable, table: Integers) -> NDArray[np.bool_]:
        """Say of each record that a frame holds as columns whether it is wanted."""
        wanted = self._wanted
        is_in: NDArray[np.bool_] = table[PROJECT] == wanted.project
        is_in &= (table[STARTED] >= wanted.start_us) & (table[STARTED] < wanted.end_us)
        if wanted.views.roots_only:
            is_in &= table[FLAGS] & PARENT == 0
        for at, test in enumerate(self._tests):
            if test is not None:
                passes = np.array([test(text) for text in frame.texts], dtype=np.bool_)
                is_in &= passes[table[FIRST_TEXT + at]]
        return is_in

    def _is_wanted(self, call: Call) -> bool:
        wanted = self._wanted
        return (
            call.started_us is not None
            and call.project == wanted.project
            and wanted.start_us <= call.started_us < wanted.end_us
            and (call.parent is None or not wanted.views.roots_only)
            and all(
                test is None or test(text)
                for test, text in zip(self._tests, (call.op_name, call.user_id, call.run_id), strict=True)
            )
        )

    def _counted(self, call: Call) -> Usage:
        """Return what is counted of what a call used."""
        if not self._wanted.usage or not call.is_ended:
            return {}
        return call.tree_usage() if self._wanted.trees else call.usage

    def _usage_of(self, usages: dict[int, Usage]) -> tuple[Integers, Integers, PackedRows]:
        """Return the rows of some usages by place of their calls among those that are being taken in."""
        calls: list[int] = []
        models: list[int] = []
        rows: list[bytes] = []
        for at, usage in usages.items():
            for model, vector in usage.items():
                packed = pack_usage(vector)
                if packed is None:
                    self._large.append((self._count + at, self._place(model), usage_row(vector)))
                else:
                    calls.append(at)
                    models.append(self._place(model))
                    rows.append(packed)
        return _integers(calls), _integers(models), unpack_packed(b"".join(rows))

    def _vectors(
        self, frame: CallTable, sizes: Integers, is_in: NDArray[np.bool_], is_ended: NDArray[np.bool_]
    ) -> tuple[Integers, Integers, Integers]:
        """Return the call, the model and the vector of each row of those that are in and have ended."""
        of_ended = is_in.copy()
        of_ended[is_in] = is_ended
        of_rows, vectors = unpack_vectors(frame.usage, frame.of_usage, sizes, of_ended)
        models = _integers([self._place(model) for model in frame.usage.models])[of_rows]
        return np.repeat(is_ended.nonzero()[0], sizes[of_ended]), models, vectors

    def _usage_columns(
        self, frame: CallTable, sizes: Integers, is_in: NDArray[np.bool_], is_ended: NDArray[np.bool_]
    ) -> tuple[Integers, Integers, PackedRows]:
        """Return the rows of those calls of a frame that have ended, of those that are in."""
        calls, models, vectors = self._vectors(frame, sizes, is_in, is_ended)
        rows, are_large = pack_vectors(vectors)
        for at in are_large.nonzero()[0].tolist():
            self._large.append((self._count + int(calls[at]), int(models[at]), usage_row(vectors[at].tolist())))
        return (
            (calls, models, rows) if not are_large.any() else (calls[~are_large], models[~are_large], rows[~are_large])
        )

    def _models_of(self, calls: Sequence[Call]) -> tuple[Integers, Integers]:
        """Return the models that ended calls belong to, each with the place of the call."""
        found = [
            (at, self._place(model))
            for at, call in enumerate(calls if self._wanted.models else ())
            if call.is_ended
            for model in call.models
        ]
        return tuple(_integers(found).T) if found else _NO_MODELS

    def _model_columns(
        self, frame: CallTable, table: Integers, is_in: NDArray[np.bool_], flags: Integers, named: Integers
    ) -> tuple[Integers, Integers]:
        """Return the same of the calls of a frame; `named`: the places of the models that their starts named."""
        is_ended, sizes = flags & ENDED != 0, table[ROWS]
        calls, models, _ = self._vectors(frame, sizes, is_in, is_ended)
        is_named = is_ended & (flags & (FAILED | STATES) == FAILED) & (sizes[is_in] == 0)
        is_named &= named != self._place(None)
        return np.append(calls, is_named.nonzero()[0]), np.append(models, named[is_named])

    def _add(
        self,
        started_us: Integers,
        latency_ms: Integers,
        flags: Integers,
        texts: Integers,
        belonging: tuple[Integers, Integers],
        usage: tuple[Integers, Integers, PackedRows],
    ) -> None:
        (belong_calls, belong_models), (usage_calls, usage_models, rows) = belonging, usage
        places = belong_calls + self._count, belong_models, usage_calls + self._count, usage_models
        self._parts.append(_Part(started_us, latency_ms, flags, texts, *places, rows))
        self._count += len(started_us)

    def _place(self, text: str | None) -> int:
        return self._places.setdefault(text, len(self._places))


def _integers(values: Sequence[object]) -> Integers:
    return np.array(values, dtype=np.int64)


_NO_MODELS = _integers([]), _integers([])
_NO_ROWS = unpack_packed(b"")
_NO_USAGE = *_NO_MODELS, _NO_ROWS
_NOTHING = _Part(*(_integers([]),) * 3, _integers([[]] * len(TEXTS)), *_NO_MODELS, *_NO_MODELS, _NO_ROWS)
