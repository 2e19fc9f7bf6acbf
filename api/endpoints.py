"""The endpoints that answer questions: who asks, what is asked, the answer, and what to say when there is none."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response

from aggregator.layout.keys import ShardName
from api.access.basic_auth import Access, Reader, forbidden, wall_clock_us
from api.contract.breakdown_request import read_breakdown_question
from api.contract.examples_request import read_examples_question
from api.contract.projects_request import read_projects_question
from api.contract.stats_request import read_stats_question
from api.contract.stream_request import at_question, read_streamed_question
from api.contract.trace_usage_request import read_trace_usage_question
from api.contract.usage_request import read_usage_question
from api.contract.values_request import read_values_question
from api.headers import Freshness, freshness_headers
from api.http.admission import Admission
from api.http.body import BodyLimits, read_body
from api.http.event_stream import EventStream
from api.http.leaving import unless_client_leaves
from api.query.breakdown_question import BreakdownQuestion
from api.query.change_notices import ChangeNotices, Mark
from api.query.examples_question import ExamplesQuestion
from api.query.projects_answer import ProjectsQuestion
from api.query.questions import StatsQuestion, TraceUsageQuestion, UsageQuestion
from api.query.stream_watches import StreamLimits, Watches
from api.query.turns import ASKER
from api.query.values_answer import ValuesQuestion
from api.readiness import readiness_of
from api.refusals import Refusal, StoreAway, away_response, json_response, refusal_response

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class Answers(Protocol):
    """Where the answers come from. Raises Refusal for what it cannot answer, StoreAway while Redis is away."""

    async def stats(self, question: StatsQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallStatsRes."""
        ...

    async def usage(self, question: UsageQuestion) -> tuple[bytes, Freshness]:
        """The JSON of a CallsUsageRes."""
        ...

    async def trace_usage(self, question: TraceUsageQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a TraceUsageRes."""
        ...

    async def breakdown(self, question: BreakdownQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallBreakdownRes."""
        ...

    async def examples(self, question: ExamplesQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallExamplesRes."""
        ...

    async def values(self, question: ValuesQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallValuesRes."""
        ...

    async def projects(self, question: ProjectsQuestion) -> bytes:
        """The JSON of a ProjectsRes."""
        ...

    async def marks(self, project_ids: Iterable[str]) -> Mapping[str, Mark]:
        """A mark of each project, which is another one when something of it was applied."""
        ...

    async def shards_as_of(self) -> list[tuple[ShardName, int | None]]:
        """How far each shard is (None: not known), once Redis answers and its layout is ours."""
        ...


class Processes(NamedTuple):
    """How many processes there should be, and how many there are."""

    wanted: int
    running: int


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`clock` is the `now` of all answers, in microseconds since the epoch."""

    clock: Callable[[], int] = wall_clock_us
    body: BodyLimits = field(default_factory=BodyLimits)
    # Questions that are being answered; those beyond 64 wait for a connection to Redis, a few milliseconds each.
    answers_max: int = 1_000
    # Those that answer on one address together; None: it is one.
    processes: Callable[[], Processes] | None = None
    streams: StreamLimits = field(default_factory=StreamLimits)
    # How old the as-of times of all shards may be before the api calls itself not ready; 0: however old.
    stale_s_max: int = 0
    # Redis is back within seconds of a restart or a failover.
    retry_after_s: int = 2


class Asking(NamedTuple):
    """How a question of one kind is read from a body at `now_us`, and answered. Both raise Refusal."""

    read: Callable[[bytes, int], Any]
    answer: Callable[[Any, int], Awaitable[tuple[bytes, Freshness]]]


class Endpoints:
    """What the routes of questions do; they share the access, the answers, and the room there is for all requests."""

    def __init__(self, answers: Answers, access: Access, settings: ApiSettings) -> None:
        self._answers = answers
        self._access = access
        self._settings = settings
        self._bodies = Admission("bytes of large bodies", settings.body.large_bytes_max)
        self._answering = Admission("questions", settings.answers_max)
        self._watches = Watches(settings.streams, ChangeNotices(answers.marks))
        self._askings = {
            "/calls/stats": Asking(read_stats_question, answers.stats),
            "/calls/usage": Asking(
                lambda body, _: read_usage_question(body), lambda question, _: answers.usage(question)
            ),
            "/trace/usage": Asking(lambda body, _: read_trace_usage_question(body), answers.trace_usage),
            "/calls/breakdown": Asking(read_breakdown_question, answers.breakdown),
            "/calls/examples": Asking(read_examples_question, answers.examples),
            "/calls/values": Asking(read_values_question, answers.values),
        }

    @property
    def asked_by_post(self) -> dict[str, Endpoint]:
        """Return by path the endpoints whose question is the body."""
        return {path: self._asked_by_post(asking) for path, asking in self._askings.items()}

    def _asked_by_post(self, asking: Asking) -> Endpoint:
        async def respond(request: Request) -> Response:
            reader = await self._access.reader(request.headers.get("authorization"))
            body = await read_body(request, self._settings.body, self._bodies)
            now_us = self._settings.clock()
            question = asking.read(body, now_us)
            if not reader.may_read(question.project_id):
                raise forbidden()
            ASKER.set(reader.key_id)
            # What is asked stays in memory until it is answered, some times its size.
            large_bytes = max(0, len(body) - self._settings.body.small_bytes_max)
            del body
            with self._answering.holding(1), self._bodies.holding(large_bytes):
                return _answer(*await unless_client_leaves(request, asking.answer(question, now_us)))

        return self.guarded(respond)

    async def stream(self, request: Request) -> Response:
        """The answers to one question, again and again."""
        authorization = request.headers.get("authorization")
        reader = await self._access.reader(authorization)
        streamed = read_streamed_question(request.query_params)
        asking = self._askings[streamed.path]

        async def ask() -> tuple[bytes, Freshness]:
            now_us = self._settings.clock()
            question = asking.read(streamed.body_at(now_us), now_us)
            with self._answering.holding(1):
                return await asking.answer(question, now_us)

        try:
            now_us = self._settings.clock()
            project_id = asking.read(streamed.body_at(now_us), now_us).project_id
            if not reader.may_read(project_id):
                raise forbidden()
            last_as_of = request.headers.get("last-event-id")
            watcher = await self._watches.join(streamed.key, project_id, ask, last_as_of)
        except Refusal as refusal:
            raise at_question(refusal) from None

        async def may_go_on() -> bool:
            try:
                return (await self._access.reader(authorization)).may_read(project_id)
            except StoreAway:
                return True  # nothing is answered either while Redis is away

        return EventStream(watcher, may_go_on, self._settings.streams)

    async def projects(self, request: Request) -> Response:
        """The projects that the key may read."""
        reader = await self._access.reader(request.headers.get("authorization"))
        question = read_projects_question(request.query_params, readable_projects(reader))
        with self._answering.holding(1):
            return _answer(await self._answers.projects(question), Freshness(None, None))

    async def ready(self, request: Request) -> Response:
        """Whether Redis answers, and somebody folds what comes."""
        shards = await self._answers.shards_as_of()
        readiness = readiness_of(shards, self._settings.clock(), self._settings.stale_s_max)
        return json_response(200 if readiness.is_ready else 503, readiness.body)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with a response for every way it can fail."""

        async def respond(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Refusal as refusal:
                return refusal_response(refusal)
            except StoreAway as trouble:
                log.warning("the store is away", extra={"path": request.url.path, "why": str(trouble)})
                return away_response(self._settings.retry_after_s)
            except Exception:
                log.exception("a request failed", extra={"path": request.url.path})
                return json_response(500, {"detail": "The server made a mistake; it has been logged."})

        return respond


def readable_projects(reader: Reader) -> tuple[str, ...] | None:
    """The projects that may be read; None: every one."""
    if reader.projects is None:
        return None if reader.may_read("") else ()
    return tuple(one for one in reader.projects if reader.may_read(one))


def _answer(body: bytes, freshness: Freshness) -> Response:
    headers = freshness_headers(freshness) | {"Cache-Control": "no-store"}
    return Response(body, headers=headers, media_type="application/json")
