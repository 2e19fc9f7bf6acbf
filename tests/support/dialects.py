"""Calls written in every dialect and encoding there is a door for."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.gatewaying import Gateway
from tests.support.spans import Attributes, GivenSpan, one_resource, otlp_json, protobuf

PROJECT = "acme/agents"  # that of tests.support.spans.SERVICE
BEGIN_US = 1_781_085_600_000_000  # 2026-06-10T10:00Z
MODELS = ("gpt-4o", "claude-sonnet-4-5", "acme-llm-1")
SPANS_OF_MESSAGE = 50


@dataclass(frozen=True)
class GivenCall:
    """A call that every dialect can say. `counts`: input, output, cache read and creation; None for an agent."""

    id: str
    trace: str
    parent: str
    name: str
    started_us: int
    ended_us: int
    failed: bool
    thread: str
    user: str
    model: str
    counts: tuple[int, int, int, int] | None


def calls(count: int) -> list[GivenCall]:
    """Traces of an agent and four calls of models each, some with errors."""
    rng = random.Random(13)
    made: list[GivenCall] = []
    for number in range(count):
        root = number - number % 5
        is_agent = number == root
        started_us = BEGIN_US + root * 1_000_000 + (number - root) * rng.randrange(1, 200_000)
        read, creation = rng.randrange(100), rng.randrange(50)
        made.append(
            GivenCall(
                id=f"{number + 1:016x}",
                trace=f"{root + 1:032x}",
                parent="" if is_agent else f"{root + 1:016x}",
                name="agent" if is_agent else "chat",
                started_us=started_us,
                ended_us=started_us + rng.randrange(1, 5_000_000),
                failed=rng.random() < 0.1,
                thread=f"talk-{root % 7}",
                user=f"user-{root % 3}",
                model=rng.choice(MODELS),
                counts=None
                if is_agent
                else (read + creation + rng.randrange(1_000), rng.randrange(500), read, creation),
            )
        )
    return made


def own_events(call: GivenCall) -> tuple[dict[str, Any], dict[str, Any]]:
    """The start and the end, in our own form."""
    identity = {"project_id": PROJECT, "id": call.id}
    start = {
        **identity,
        "op_name": call.name,
        "started_at": _instant(call.started_us),
        "trace_id": call.trace,
        "parent_id": call.parent or None,
        "thread_id": call.thread,
        "wb_user_id": call.user,
    }
    usage: dict[str, Any] = {}
    if call.counts is not None:
        inputs, outputs, read, creation = call.counts
        details = {"cached_tokens": read, "cache_write_tokens": creation}
        usage[call.model] = {"prompt_tokens": inputs, "completion_tokens": outputs, "prompt_tokens_details": details}
    exception = "boom" if call.failed else None
    end = {**identity, "ended_at": _instant(call.ended_us), "exception": exception, "summary": {"usage": usage}}
    return start, end


# By dialect: what says that a span is an inference, of which model; its counts in the order of `GivenCall.counts`, or
# one attribute for all; conversation; user.
_SAYS: dict[str, tuple[Attributes, str, Sequence[str], str, str]] = {
    "gen_ai": (
        {"gen_ai.operation.name": "chat"},
        "gen_ai.response.model",
        (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
        ),
        "gen_ai.conversation.id",
        "user.id",
    ),
    "OpenInference": (
        {"openinference.span.kind": "LLM"},
        "llm.model_name",
        (
            "llm.token_count.prompt",
            "llm.token_count.completion",
            "llm.token_count.prompt_details.cache_read",
            "llm.token_count.prompt_details.cache_write",
        ),
        "session.id",
        "user.id",
    ),
    "OpenLLMetry": (
        {"llm.request.type": "chat"},
        "gen_ai.response.model",
        (
            "gen_ai.usage.prompt_tokens",
            "gen_ai.usage.completion_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.user_id",
    ),
    "Vercel AI SDK": (
        {"ai.operationId": "ai.generateText.doGenerate"},
        "ai.response.model",
        (
            "ai.usage.inputTokens",
            "ai.usage.outputTokens",
            "ai.usage.cachedInputTokens",
            "ai.usage.inputTokenDetails.cacheWriteTokens",
        ),
        "ai.telemetry.metadata.sessionId",
        "ai.telemetry.metadata.userId",
    ),
    "Langfuse": (
        {"langfuse.observation.type": "generation"},
        "langfuse.observation.model.name",
        ("langfuse.observation.usage_details",),
        "langfuse.session.id",
        "langfuse.user.id",
    ),
    "LiteLLM": (
        {"llm.request.type": "acompletion"},
        "gen_ai.request.model",
        (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        "session.id",
        "metadata.user_api_key_user_id",
    ),
    "Pydantic AI": (
        {"gen_ai.operation.name": "chat", "logfire.msg": "chat"},
        "gen_ai.response.model",
        (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_write_tokens",
        ),
        "gen_ai.conversation.id",
        "user.id",
    ),
}


def span(call: GivenCall, dialect: str) -> GivenSpan:
    """The call as a span of a dialect."""
    kind, model, counts, thread, user = _SAYS[dialect]
    attributes: Attributes = {thread: call.thread, user: call.user, "some.text": "x" * 50}
    if call.counts is not None:
        attributes |= {**kind, model: call.model}
        if len(counts) == 1:
            names = ("input", "output", "cache_read_input_tokens", "cache_creation_input_tokens")
            attributes[counts[0]] = json.dumps(dict(zip(names, call.counts, strict=True)))
        else:
            attributes |= dict(zip(counts, call.counts, strict=True))
    status = 2 if call.failed else 1
    times = call.started_us * 1_000 + 999, call.ended_us * 1_000 + 1
    return GivenSpan(call.id, call.trace, call.parent, call.name, *times, status, attributes)


def messages(given: list[GivenCall]) -> Iterator[tuple[str, list[bytes]]]:
    """Returns the name and the messages of each dialect and encoding."""
    halves = list(map(own_events, given))
    yield "completes", [_json({"complete": start | end}) for start, end in halves]
    yield "starts and ends", [_json(event) for start, end in halves for event in ({"end": end}, {"start": start})]
    modes = [{"mode": "complete", "req": start | end} for start, end in halves]
    yield "batches", [_json({"batch": list(part)}) for part in _parts(modes)]
    for dialect in _SAYS:
        spans = [span(call, dialect) for call in given]
        yield f"{dialect}, otlp_proto", [protobuf(one_resource(*part)) for part in _parts(spans[::-1])]
        encode: Callable[..., bytes] = otlp_json
        with_base64 = dialect in ("OpenInference", "Langfuse")
        yield f"{dialect}, otlp_json", [encode(one_resource(*part), base64_ids=with_base64) for part in _parts(spans)]
    gateway = Gateway()
    for part in _parts([start | end for start, end in halves]):
        assert gateway.post("/v2/acme/agents/calls/complete", _json({"batch": part})).status_code == 200
    yield "Weave's SDK, by the gateway", [message.value for message in gateway.kafka.messages]
    gateway = Gateway()
    for spans_of_part in _parts([span(call, "gen_ai") for call in given]):
        assert gateway.post("/v1/traces", protobuf(one_resource(*spans_of_part))).status_code == 200
    yield "OTLP over HTTP, by the gateway", [message.value for message in gateway.kafka.messages]


def _parts(whole: Sequence[Any]) -> Iterator[list[Any]]:
    for begin in range(0, len(whole), SPANS_OF_MESSAGE):
        yield list(whole[begin : begin + SPANS_OF_MESSAGE])


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _instant(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat()
