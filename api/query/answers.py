"""The answers of all endpoints from the store, with how fresh they are."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from aggregator.layout.keys import ShardName
from aggregator.rollups.levels import Retention
from aggregator.store.reader import OpenedProject, StateLost, StoreReader, UnknownLayout
from aggregator.store.reader import StoreAway as RedisAway
from aggregator.time_units import SECOND_US
from api.headers import Freshness
from api.query.breakdown_answer import answer_breakdown
from api.query.breakdown_parts import BreakdownSource, KeptParts
from api.query.breakdown_question import BreakdownQuestion
from api.query.bucket_cache import KEPT_BYTES_MAX, KeptBuckets
from api.query.change_notices import Mark
from api.query.examples_answer import Link, answer_examples, no_link
from api.query.examples_question import ExamplesQuestion
from api.query.fact_reading import facts_of
from api.query.projects_answer import ProjectsQuestion, answer_projects
from api.query.questions import StatsQuestion, TraceUsageQuestion, UsageQuestion
from api.query.shared_work import SharedWork
from api.query.stats_answer import answer_stats
from api.query.trace_usage_answer import answer_trace_usage
from api.query.turns import Turns
from api.query.usage_answer import UsageAnswer, answer_usage
from api.query.values_answer import ValuesQuestion, answer_values
from api.refusals import StoreAway

log = logging.getLogger(__name__)

# Redis loses data in a moment, when it is wiped or comes back after a crash; then it stays as it is.
ATTEMPTS_MAX = 3


Question = StatsQuestion | UsageQuestion | TraceUsageQuestion | BreakdownQuestion | ExamplesQuestion | ValuesQuestion


class StoreAnswers:
    """Answers from one namespace of the store. Raises Refusal, and StoreAway while Redis is away.

    `clock` tells how old the data is: a clock of its own, since `now_us` may be fixed for recorded data. `link`: the
    addresses of calls' pages.
    """

    def __init__(
        self,
        reader: StoreReader,
        retention: Retention,
        clock: Callable[[], int],
        kept_bytes_max: int = KEPT_BYTES_MAX,
        link: Link = no_link,
    ) -> None:
        self._reader = reader
        self._retention = retention
        self._clock = clock
        self._link = link
        self._kept = KeptBuckets(kept_bytes_max)
        self._parts = KeptParts()
        self._turns = Turns()
        self._said_s: tuple[int, ...] = ()
        self._shared: SharedWork[Question, tuple[bytes, Freshness]] = SharedWork()

    async def stats(self, question: StatsQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallStatsRes."""

        def work(latest_us: int) -> Awaitable[tuple[bytes, Freshness]]:
            return self._answer(
                question.project_id,
                lambda project: answer_stats(
                    self._reader, self._kept, self._turns, project, question, latest_us, self._retention_of(project)
                ),
            )

        return await self._shared.run(question, now_us, work)

    async def usage(self, question: UsageQuestion) -> tuple[bytes, Freshness]:
        """The JSON of a CallsUsageRes."""

        def work(_: int) -> Awaitable[tuple[bytes, Freshness]]:
            return self._answer_usage(
                question.project_id, lambda project: answer_usage(self._reader, project, question)
            )

        return await self._shared.run(question, 0, work)

    async def trace_usage(self, question: TraceUsageQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a TraceUsageRes."""

        def work(latest_us: int) -> Awaitable[tuple[bytes, Freshness]]:
            return self._answer_usage(
                question.project_id,
                lambda project: answer_trace_usage(
                    self._reader, project, question, latest_us, self._retention_of(project)
                ),
            )

        return await self._shared.run(question, now_us, work)

    async def breakdown(self, question: BreakdownQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallBreakdownRes."""

        def work(latest_us: int) -> Awaitable[tuple[bytes, Freshness]]:
            return self._answer(
                question.project_id,
                lambda project: answer_breakdown(
                    self._parts_of(project, latest_us), question, latest_us, self._retention_of(project)
                ),
            )

        return await self._shared.run(question, now_us, work)

    async def examples(self, question: ExamplesQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallExamplesRes."""

        def work(latest_us: int) -> Awaitable[tuple[bytes, Freshness]]:
            return self._answer(
                question.project_id,
                lambda project: answer_examples(
                    self._reader, project, question, latest_us, self._retention_of(project), self._link
                ),
            )

        return await self._shared.run(question, now_us, work)

    async def values(self, question: ValuesQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallValuesRes."""

        def work(latest_us: int) -> Awaitable[tuple[bytes, Freshness]]:
            return self._answer(
                question.project_id,
                lambda project: answer_values(
                    self._parts_of(project, latest_us), question, latest_us, self._retention_of(project)
                ),
            )

        return await self._shared.run(question, now_us, work)

    async def projects(self, question: ProjectsQuestion) -> bytes:
        """The JSON of a ProjectsRes."""
        try:
            return await answer_projects(self._reader, question, self._clock())
        except (*RedisAway, UnknownLayout) as away:
            _away(away)

    async def marks(self, project_ids: Iterable[str]) -> Mapping[str, Mark]:
        """A mark of each project, which is another one when something of it, or of its neighbours, was applied."""
        try:
            return await self._reader.fences(project_ids)
        except (*RedisAway, UnknownLayout) as away:
            _away(away)

    async def shards_as_of(self) -> list[tuple[ShardName, int | None]]:
        """How far each shard is, once Redis answers and its layout is ours."""
        try:
            return await self._reader.shards_as_of()
        except (*RedisAway, UnknownLayout) as away:
            _away(away)

    def _parts_of(self, project: OpenedProject, now_us: int) -> BreakdownSource:
        facts = facts_of(self._reader, now_us, self._retention_of(project))
        return BreakdownSource(self._reader, project, self._parts, self._turns, facts)

    def _retention_of(self, project: OpenedProject) -> Retention:
        """Return what the workers keep, by their own word; what this api was told where they have not said so."""
        kept = project.retention
        if kept is None:
            return self._retention
        if kept.lengths_s != self._retention.lengths_s and kept.lengths_s != self._said_s:
            self._said_s = kept.lengths_s
            log.warning(
                "workers keep data for another time than CALLMETER_RETENTION__* says here; answers go by the workers'",
                extra={
                    f"{name}_s": f"{theirs}, here {ours}"
                    for name, theirs, ours in zip(
                        ("calls", "minutes", "five_minutes", "hours"),
                        kept.lengths_s,
                        self._retention.lengths_s,
                        strict=True,
                    )
                    if theirs != ours
                },
            )
        return kept

    async def _answer_usage(
        self, project_id: str, answer: Callable[[OpenedProject], Awaitable[UsageAnswer]]
    ) -> tuple[bytes, Freshness]:
        """An answer of `_answer`, which says of which calls it may not know all."""
        split: list[str] = []

        async def body(project: OpenedProject) -> bytes:
            answered = await answer(project)
            split[:] = answered.split_call_ids
            return answered.body

        answered, freshness = await self._answer(project_id, body)
        return answered, replace(freshness, split_call_ids=tuple(split))

    async def _answer(
        self, project_id: str, answer: Callable[[OpenedProject], Awaitable[bytes]]
    ) -> tuple[bytes, Freshness]:
        """The answer and how fresh it is: both from a Redis that has forgotten nothing in between."""
        try:
            for _ in range(ATTEMPTS_MAX):
                project = await self._reader.open_project(project_id)
                with suppress(StateLost):
                    return await answer(project), self._freshness(project)
        except (*RedisAway, UnknownLayout) as away:
            _away(away)
        raise StoreAway("Redis has lost data again and again while it was read")

    def _freshness(self, project: OpenedProject) -> Freshness:
        if project.as_of_us is None:
            return Freshness(None, None, bool(project.shards))
        return Freshness(project.as_of_us, (self._clock() - project.as_of_us) / SECOND_US, bool(project.shards))


def _away(why: Exception) -> NoReturn:
    raise StoreAway(str(why)) from why
