"""Numbers for queries from the store: which projects may be read, which slots fill the intervals, within limits."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TypeVar

from aggregator.calls.call import Call
from aggregator.layout.shown_rules import ShownRule, ShownRules
from aggregator.reading.ranking import RankedCall
from aggregator.reading.rollups import TooMuchToRead, Wanted
from aggregator.reading.view_rollups import BUCKETS_AT_ONCE_MAX, ViewRollups, read_view_rollups
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Retention
from aggregator.rollups.orders import Order
from aggregator.rollups.views import NotKept
from aggregator.store.reader import OpenedProject, StateLost, StoreAway, StoreReader, UnknownLayout
from aggregator.time_units import DAY_US
from api.prometheus.bad_query import BadQuery
from api.prometheus.matching import Matcher, of_label
from api.prometheus.metrics import LATENCY_MS, PROJECT, Metric
from api.prometheus.sampled_numbers import Numbers, numbers_of
from api.query.examples_answer import rank_examples
from api.query.examples_question import ExamplesQuestion
from api.query.questions import CallFilter
from api.query.read_plan import cover, plan_reads
from api.query.retained_window import level_reach_us

T = TypeVar("T")

# Intervals between the edges of all windows: 11,000 steps with both their ends.
INTERVALS_MAX = 22_000
# Projects of one query that names none; beyond, a matcher must tell.
PROJECTS_MAX = 20
# Values of one metric before they are added up, the buckets of a histogram each by itself: 160 MB.
VALUES_MAX = 20_000_000
ATTEMPTS_MAX = 3


class StoreNumbers:
    """See NumberSource. `readable`: the projects that may be read, None: all; `may_read` decides for a named one."""

    def __init__(
        self,
        reader: StoreReader,
        retention: Retention,
        now_us: int,
        readable: tuple[str, ...] | None,
        may_read: Callable[[str], bool],
    ) -> None:
        self._reader = reader
        self._retention = retention
        self._now_us = now_us
        self._readable = readable
        self._may_read = may_read

    @property
    def origin_us(self) -> int:
        """Return since when counters count: the first day of which all hours are kept."""
        return -(-level_reach_us(HOURS, self._now_us, self._retention) // DAY_US) * DAY_US

    async def project_ids(self, matchers: Sequence[Matcher]) -> list[str]:
        """The readable projects that a selector means, no more than PROJECTS_MAX. Raises BadQuery."""
        of_project = of_label(matchers, PROJECT)
        named = [one.value for one in of_project if one.pattern is None and not one.negated]
        if named:
            if any(not self._may_read(project_id) for project_id in named):
                raise BadQuery("the key may not read this project", "forbidden", 403)
            return [one for one in dict.fromkeys(named) if all(matcher.matches(one) for matcher in of_project)]
        known = await self.known_projects(PROJECTS_MAX + 1)
        found = [one for one in known if all(matcher.matches(one) for matcher in of_project)]
        if len(found) > PROJECTS_MAX:
            why = f"{len(found):,} projects are meant, more than {PROJECTS_MAX}: name one"
            raise BadQuery(why)
        return found

    async def known_projects(self, limit: int) -> list[str]:
        """Readable projects by name, of which events have been applied."""
        with answering_away():
            if self._readable is None:
                return list(await self._reader.project_ids("", limit))
            states = await self._reader.project_states(sorted(self._readable))
            return [project_id for project_id, _ in states]

    async def shown_rules(self) -> tuple[ShownRules | None, list[ShownRule]]:
        """Return what an alerter shows, and of its rules those of readable projects. Raises BadQuery."""
        with answering_away():
            shown = await self._reader.shown_rules()
        return shown, [rule for rule in (shown.rules if shown else ()) if self._may_read(rule.project)]

    async def numbers(
        self, project_id: str, metrics: Sequence[Metric], dimensions: int, edges_us: Sequence[int], series_max: int
    ) -> list[Numbers]:
        """See NumberSource."""
        if len(edges_us) - 1 > INTERVALS_MAX:
            raise BadQuery(f"the query has more than {INTERVALS_MAX:,} intervals: widen its step", "execution", 422)

        async def read(project: OpenedProject) -> list[Numbers]:
            retention = project.retention or self._retention  # the workers' own word first
            edges = [self._kept(at, retention) for at in edges_us]
            plan = plan_reads([cover(begin, end) for begin, end in pairwise(edges)])
            return await self._read(project, metrics, dimensions, plan.slots, max(1, len(edges) - 1), series_max)

        return await self._opened(project_id, read)

    async def ranked_calls(
        self,
        project_id: str,
        order: Order,
        asked: CallFilter,
        passes: Callable[[Call], bool],
        window_us: tuple[int, int],
        limit: int,
    ) -> list[RankedCall]:
        """The first calls of a window in an order, of those of a filter that pass. Raises BadQuery."""
        question = ExamplesQuestion(project_id, *window_us, asked, order, limit)

        async def read(project: OpenedProject) -> list[RankedCall]:
            retention = project.retention or self._retention
            with refusing_reads():
                ranking, _ = await rank_examples(self._reader, project, question, self._now_us, retention, passes)
            return ranking.first

        return await self._opened(project_id, read)

    async def _read(
        self,
        project: OpenedProject,
        metrics: Sequence[Metric],
        dimensions: int,
        slots: Wanted,
        intervals: int,
        series_max: int,
    ) -> list[Numbers]:
        found: dict[Metric, Numbers] = {}
        for of_models in (False, True):
            some = [one for one in metrics if one.is_of_model_calls is of_models]
            if not some:
                continue
            latency = any(one.part == "bucket" and one.quantity == LATENCY_MS for one in some)
            usage = any(one.part == "bucket" and one.quantity != LATENCY_MS for one in some)
            rows = max(len(one.bounds) + 1 if one.part == "bucket" else 1 for one in some)
            values_max = min(BUCKETS_AT_ONCE_MAX, VALUES_MAX // rows)
            with refusing_reads():
                read = await read_view_rollups(
                    self._reader,
                    project,
                    slots,
                    intervals,
                    dimensions,
                    latency,
                    usage,
                    of_models,
                    series_max,
                    values_max,
                )
            found |= await asyncio.to_thread(_numbers_of_all, read, some, dimensions)
        return [found[one] for one in metrics]

    async def _opened(self, project_id: str, read: Callable[[OpenedProject], Awaitable[T]]) -> T:
        with answering_away():
            for _ in range(ATTEMPTS_MAX):
                project = await self._reader.open_project(project_id)
                with suppress(StateLost):
                    found = await read(project)
                    await self._reader.fetch_of(project, [])
                    return found
        raise BadQuery("Redis has lost data again and again while it was read", "unavailable", 503)

    def _kept(self, at_us: int, retention: Retention) -> int:
        """The edge, moved to the next earlier one of the finest slots that are kept; none lies in the far future."""
        at_us = min(at_us, self._now_us + DAY_US)
        for level in (MINUTES, FIVE_MINUTES, HOURS):
            edge = at_us // level.slot_us * level.slot_us
            if edge >= level_reach_us(level, self._now_us, retention):
                return edge
        return level_reach_us(HOURS, self._now_us, retention)


def _numbers_of_all(read: ViewRollups, metrics: Sequence[Metric], dimensions: int) -> dict[Metric, Numbers]:
    return {metric: numbers_of(read, metric, dimensions) for metric in metrics}


@contextmanager
def answering_away() -> Iterator[None]:
    """Turns what the store raises while it is away into an answer that says so."""
    try:
        yield
    except (*StoreAway, UnknownLayout) as away:
        raise BadQuery(f"the store is away: {away}", "unavailable", 503) from away


@contextmanager
def refusing_reads() -> Iterator[None]:
    """Turns what a reading is too much for into an answer that says so."""
    try:
        yield
    except NotKept:
        why = "more values of these labels came than are kept (CALLMETER_LIMITS__VIEWS): aggregate by fewer"
        raise BadQuery(why, "execution", 422) from None
    except TooMuchToRead as much:
        raise BadQuery(str(much), "execution", 422) from None


NumbersOf = Callable[[int, tuple[str, ...] | None, Callable[[str], bool]], StoreNumbers]
"""Numbers as of an instant (microseconds since 1970) for who may read these projects; see StoreNumbers."""
