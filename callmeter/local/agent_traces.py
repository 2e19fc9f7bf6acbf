"""A made-up but lifelike stream of agent traces, as Weave's SDK sends them: pure, from a random generator and a time.

Agents think (`llm.chat`), search, embed and run code in steps; providers refuse with rate limits and are tried again;
one provider breaks down for a minute every few minutes. Parents carry the sum of their children's usage, as the SDK
writes it. Only what a dashboard can show is modelled: texts are short and always the same.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from aggregator.time_units import MINUTE_US, SECOND_US

Event = dict[str, Any]

CALLS_PER_TRACE = 10.5  # measured mean of what `_run` makes
REPEATED_SHARE = 0.002  # of the events come a second time, as by a producer that was not sure
BURST_EVERY_MINUTES = 3
ATTEMPTS_MAX = 3


class Model(NamedTuple):
    """How a model behaves: who serves it, its median latency, how much it reads from cache, how often it refuses."""

    name: str
    provider: str
    latency_ms: float
    cached_share: float
    refused_share: float


class Agent(NamedTuple):
    """A program that is run again and again: what it thinks with, what it uses, how many steps it takes."""

    name: str
    thinker: str
    helper: str
    tools: tuple[str, ...]
    steps_max: int


class TimedEvent(NamedTuple):
    """An event and the moment it happens, in microseconds since the epoch."""

    at_us: int
    event: Event


MODELS = {
    model.name: model
    for model in (
        Model("gpt-4o", "openai", 1_400, 0.35, 0.02),
        Model("gpt-4o-mini", "openai", 600, 0.20, 0.01),
        Model("claude-sonnet-4", "anthropic", 1_900, 0.60, 0.015),
        Model("gemini-2.5-flash", "google", 450, 0.25, 0.01),
    )
}
AGENTS = (
    Agent("support", "gpt-4o-mini", "gemini-2.5-flash", ("search", "lookup_order"), 3),
    Agent("research", "claude-sonnet-4", "gemini-2.5-flash", ("search", "fetch_page"), 5),
    Agent("coder", "gpt-4o", "gpt-4o-mini", ("run_python", "search"), 4),
)
AGENT_WEIGHTS = (5, 2, 3)
# The providers take turns in breaking down.
FAILING_PROVIDERS = ("openai", "anthropic", "google")


def failing_provider(at_us: int) -> str | None:
    """The provider that fails at this moment: in the last minute of every `BURST_EVERY_MINUTES`, else none."""
    burst, minute = divmod(at_us // MINUTE_US, BURST_EVERY_MINUTES)
    return FAILING_PROVIDERS[burst % len(FAILING_PROVIDERS)] if minute == BURST_EVERY_MINUTES - 1 else None


def agent_traces(rng: Random, project_id: str, from_us: int, calls_per_second: float) -> Iterator[TimedEvent]:
    """The events of a project from `from_us` on, in the order of time, without end.

    `calls_per_second` is the mean; the load swings by half around it, once every 20 minutes.
    """
    due: list[tuple[int, int, Event]] = []
    number = 0
    begins_us = from_us
    while True:
        while due and due[0][0] <= begins_us:
            at_us, _, event = heapq.heappop(due)
            yield TimedEvent(at_us, event)
        for at_us, event in _run(rng, project_id, begins_us):
            number += 1
            heapq.heappush(due, (at_us, number, event))
            if rng.random() < REPEATED_SHARE:
                heapq.heappush(due, (at_us + MINUTE_US // 60, number, event))
        load = 1 + 0.5 * math.sin(2 * math.pi * begins_us / (20 * MINUTE_US))
        begins_us += 1 + int(rng.expovariate(load * calls_per_second / CALLS_PER_TRACE) * 1e6)


@dataclass
class _Call:
    """A call that has begun: who it is, and what its children have used so far."""

    id: str
    parent: "_Call | None"
    started_us: int
    usage: dict[str, Counter[str]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, usage: dict[str, Counter[str]], statuses: Counter[str]) -> None:
        """Sum up what a child used."""
        for model, counts in usage.items():
            self.usage.setdefault(model, Counter()).update(counts)
        self.statuses.update(statuses)


class _Trace:
    """Writes the events of one trace."""

    def __init__(self, rng: Random, project_id: str, begins_us: int) -> None:
        self.events: list[TimedEvent] = []
        self.rng = rng
        self._project_id = project_id
        self._trace_id = call_id(rng, begins_us)
        user = int(rng.paretovariate(1.2)) % 40
        self._user_id = f"user-{user:02}"
        self._thread_id = f"thread-{user:02}-{begins_us // (30 * MINUTE_US)}"
        self._run_id = f"release-{begins_us // (60 * MINUTE_US) % 24:02}"
        self._turn_id: str | None = None

    def begin(self, op: str, at_us: int, parent: _Call | None, inputs: Event) -> _Call:
        """Begin a call of operation `op`."""
        call = _Call(call_id(self.rng, at_us), parent, at_us)
        self._turn_id = self._turn_id or call.id
        start = {
            "project_id": self._project_id,
            "id": call.id,
            "op_name": f"weave:///{self._project_id}/op/{op}:v1",
            "display_name": None,
            "trace_id": self._trace_id,
            "parent_id": parent.id if parent else None,
            "thread_id": self._thread_id,
            "turn_id": self._turn_id,
            "started_at": _rfc3339(at_us),
            "attributes": {"weave": {"client_version": "0.52.1", "source": "python-sdk"}},
            "inputs": inputs,
            "wb_user_id": self._user_id,
            "wb_run_id": self._run_id,
        }
        self.events.append(TimedEvent(at_us, {"start": start}))
        return call

    def end(
        self, call: _Call, at_us: int, exception: str | None = None, usage: dict[str, Counter[str]] | None = None
    ) -> None:
        """End a call; what it used itself adds up with what its children used, and goes to its parent."""
        call.add(usage or {}, Counter({"success": int(exception is None), "error": int(exception is not None)}))
        if call.parent:
            call.parent.add(call.usage, call.statuses)
        end = {
            "project_id": self._project_id,
            "id": call.id,
            "trace_id": self._trace_id,
            "started_at": _rfc3339(call.started_us),
            "ended_at": _rfc3339(at_us),
            "exception": exception,
            "output": None if exception else {"text": "Here is what I found."},
            "summary": {
                "usage": {model: _nested(counts) for model, counts in call.usage.items()},
                "status_counts": {"success": call.statuses["success"], "error": call.statuses["error"]},
            },
        }
        self.events.append(TimedEvent(at_us, {"end": end}))


def _run(rng: Random, project_id: str, begins_us: int) -> list[TimedEvent]:
    """One run of an agent: its steps, and a last answer."""
    agent = rng.choices(AGENTS, AGENT_WEIGHTS)[0]
    trace = _Trace(rng, project_id, begins_us)
    agent_ref = f"weave:///{project_id}/object/{agent.name}:v1"
    root = trace.begin(f"{agent.name}.run", begins_us, None, {"self": agent_ref, "question": "Where is my order?"})
    at_us, exception = begins_us + _ms(rng, 8), None
    for _ in range(rng.randint(1, agent.steps_max)):
        at_us, exception = _step(trace, root, agent, at_us)
        if exception:
            break
    else:
        at_us, exception = _chat(trace, root, agent.thinker, at_us)
    trace.end(root, at_us + _ms(rng, 5), exception)
    return trace.events


def _step(trace: _Trace, root: _Call, agent: Agent, at_us: int) -> tuple[int, str | None]:
    """Think what to do, then do it; a tool that fails is no end of the run, a model that stays away is."""
    step = trace.begin(f"{agent.name}.step", at_us, root, {"goal": "answer"})
    at_us, exception = _chat(trace, step, agent.thinker, at_us + _ms(trace.rng, 3))
    if exception is None and trace.rng.random() < 0.8:
        at_us = _tool(trace, step, trace.rng.choice(agent.tools), agent.helper, at_us + _ms(trace.rng, 2))
    at_us += _ms(trace.rng, 2)
    trace.end(step, at_us, exception)
    return at_us + _ms(trace.rng, 4), exception


def _chat(trace: _Trace, parent: _Call, model_name: str, at_us: int) -> tuple[int, str | None]:
    """Ask a model, again after a while when it refuses; when it ended, and why it failed if it did."""
    model, rng, exception = MODELS[model_name], trace.rng, None
    for attempt in range(ATTEMPTS_MAX):
        chat = trace.begin("llm.chat", at_us, parent, {"model": model.name, "messages": [{"role": "user"}]})
        refused_share = 0.7 if failing_provider(at_us) == model.provider else model.refused_share
        if rng.random() >= refused_share:
            at_us += _ms(rng, model.latency_ms)
            trace.end(chat, at_us, usage={model.name: _tokens(rng, model)})
            return at_us, None
        exception = f"RateLimitError: 429 from {model.provider}, try again later"
        at_us += _ms(rng, 90)
        trace.end(chat, at_us, exception)
        at_us += _ms(rng, 250 * 2**attempt)
    return at_us, exception


def _tool(trace: _Trace, parent: _Call, tool: str, helper: str, at_us: int) -> int:
    """Use a tool; a search embeds its query and has its findings summed up by the helper's model."""
    rng = trace.rng
    documents = [f"wandb-artifact:///docs-{rng.randrange(50)}"]
    call = trace.begin(f"tool.{tool}", at_us, parent, {"query": "order", "sources": documents})
    if tool == "search":
        embed = trace.begin("embed", at_us + _ms(rng, 2), call, {"texts": 1})
        at_us = embed.started_us + _ms(rng, 60)
        trace.end(embed, at_us)
        at_us, _ = _chat(trace, call, helper, at_us + _ms(rng, 30))
    else:
        at_us += _ms(rng, 350)
    exception = "TimeoutError: the tool took too long" if rng.random() < 0.02 else None
    at_us += _ms(rng, 5)
    trace.end(call, at_us, exception)
    return at_us


def _tokens(rng: Random, model: Model) -> Counter[str]:
    """The counts of one answer, in the words of the model's provider."""
    prompt, output = int(rng.lognormvariate(7.3, 0.8)), int(rng.lognormvariate(5.2, 0.7))
    cached = int(prompt * model.cached_share * rng.random())
    if model.provider == "anthropic":
        created = int((prompt - cached) * 0.3) if rng.random() < 0.3 else 0
        return Counter(
            input_tokens=prompt - cached - created,
            output_tokens=output,
            cache_read_input_tokens=cached,
            cache_creation_input_tokens=created,
            requests=1,
        )
    return Counter(
        {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details.cached_tokens": cached,
            "requests": 1,
        }
    )


def _nested(counts: Counter[str]) -> Event:
    """`{"a.b": 1}` is written `{"a": {"b": 1}}`."""
    usage: Event = {}
    for name, count in counts.items():
        outer, _, inner = name.partition(".")
        if inner:
            usage.setdefault(outer, {})[inner] = count
        else:
            usage[outer] = count
    return usage


def call_id(rng: Random, at_us: int) -> str:
    """A UUID of version 7: the time in milliseconds, then chance."""
    number = (at_us // 1_000) << 80 | 0x7 << 76 | rng.getrandbits(12) << 64 | 0b10 << 62 | rng.getrandbits(62)
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _ms(rng: Random, median_ms: float) -> int:
    """A duration in microseconds, spread around `median_ms` as latencies are, with a long tail."""
    return int(median_ms * 1_000 * rng.lognormvariate(0, 0.45))


def _rfc3339(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_us % SECOND_US:06}Z"
