"""Every dialect of spans gives the same call: 100 tokens in, 20 of them from a cache, 10 into it, and 50 out."""

import json

import pytest

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from ingest.decoding.otlp_names import KINDS, SpanNames, UsageAttributes, places
from ingest.decoding.single import decode_message
from tests.support.spans import STARTED_NS, Attributes, GivenSpan, one_resource, otlp_json, protobuf

NOW_US = STARTED_NS // 1_000
COUNTS = UsageCounts(100, 50, 150, 20, 10, 1)

GEN_AI: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 20,
    "gen_ai.usage.cache_creation.input_tokens": 10,
    "gen_ai.usage.reasoning.output_tokens": 30,
    "gen_ai.conversation.id": "talk",
    "user.id": "kim",
    "gen_ai.input.messages": '[{"role": "user"}]',
    "gen_ai.response.finish_reasons": ["stop"],
}
CACHE = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens")
DIALECTS: dict[str, Attributes] = {
    "gen_ai": GEN_AI,
    "gen_ai, newest": {key: value for key, value in GEN_AI.items() if key != CACHE[1]}
    | {"gen_ai.usage.cache_write.input_tokens": 10},
    "gen_ai before 1.27": {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 50,
        "gen_ai.usage.cache_read_input_tokens": 20,
        "gen_ai.usage.cache_creation_input_tokens": 10,
        "session.id": "talk",
        "enduser.id": "kim",
    },
    "OpenInference": {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 50,
        "llm.token_count.total": 150,
        "llm.token_count.prompt_details.cache_read": 20,
        "llm.token_count.prompt_details.cache_write": 10,
        "llm.token_count.prompt_details.audio": 5,
        "llm.token_count.completion_details.reasoning": 30,
        "session.id": "talk",
        "user.id": "kim",
        "input.value": "{}",
    },
    "OpenLLMetry": {
        "llm.request.type": "chat",
        "gen_ai.system": "OpenAI",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 50,
        "llm.usage.total_tokens": 150,
        "gen_ai.usage.cache_read_input_tokens": 20,
        "gen_ai.usage.cache_creation_input_tokens": 10,
        "traceloop.association.properties.session_id": "talk",
        "traceloop.association.properties.user_id": "kim",
    },
    "Vercel AI SDK 5": {
        "operation.name": "ai.generateText.doGenerate",
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.id": "gpt-4o",
        "ai.usage.inputTokens": 100,
        "ai.usage.outputTokens": 50,
        "ai.usage.totalTokens": 150,
        "ai.usage.reasoningTokens": 30,
        "ai.usage.cachedInputTokens": 20,
        "ai.usage.inputTokenDetails.cacheWriteTokens": 10,
        "ai.telemetry.metadata.sessionId": "talk",
        "ai.telemetry.metadata.userId": "kim",
    },
    "Vercel AI SDK 4": {
        "ai.operationId": "ai.streamText.doStream",
        "ai.response.model": "gpt-4o",
        "ai.usage.promptTokens": 100,
        "ai.usage.completionTokens": 50,
        "ai.usage.inputTokenDetails.cacheReadTokens": 20,
        "ai.usage.inputTokenDetails.cacheWriteTokens": 10,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "ai.telemetry.metadata.sessionId": "talk",
        "ai.telemetry.metadata.userId": "kim",
    },
    "Langfuse": {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": json.dumps(
            {"input": 100, "output": 50, "total": 150, "input_cached_tokens": 20, "input_cache_creation": 10}
        ),
        "langfuse.session.id": "talk",
        "langfuse.user.id": "kim",
        "langfuse.observation.cost_details": '{"total": 9.9}',
    },
    "LiteLLM": {
        "llm.request.type": "acompletion",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.total_tokens": 150,
        "gen_ai.usage.cache_read_input_tokens": 20,
        "gen_ai.usage.cache_creation_input_tokens": 10,
        "gen_ai.cost.total_cost": 9.9,
        "session.id": "talk",
        "metadata.user_api_key_user_id": "kim",
    },
    "Pydantic AI, Logfire": {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.details.cache_read_tokens": 20,
        "gen_ai.usage.details.cache_write_tokens": 10,
        "gen_ai.usage.details.reasoning_tokens": 30,
        "gen_ai.conversation.id": "talk",
        "user.id": "kim",
        "operation.cost": 9.9,
        "logfire.msg": "chat gpt-4o",
    },
}


def decoded(attributes: Attributes, **more: object) -> Event:
    """The event of a span with these attributes; the same from protobuf and from JSON."""
    resources = one_resource(GivenSpan(attributes=attributes, **more))  # type: ignore[arg-type]
    (event,) = decode_message(protobuf(resources), NOW_US).events
    assert decode_message(otlp_json(resources), NOW_US).events == [event]
    return event


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialect(dialect: str) -> None:
    """The call, whole, and no roll-up."""
    started_us = STARTED_NS // 1_000
    trace_id, model = "4bf92f3577b34da6a3ce929d0e0e4736", "gpt-4o"
    start = CallStart("chat gpt-4o", started_us, trace_id, None, "talk", None, "kim", model=model)
    end = CallEnd(started_us + 1_500_000, False, {model: COUNTS})
    assert decoded(DIALECTS[dialect]) == Event("acme/agents", "00f067aa0ba902b7", start, end)


ROLL_UPS: dict[str, Attributes] = {
    "an agent": {"gen_ai.operation.name": "invoke_agent"},
    "a workflow": {"gen_ai.operation.name": "invoke_workflow"},
    "a tool": {"gen_ai.operation.name": "execute_tool"},
    "a chain of OpenInference": {"openinference.span.kind": "CHAIN"},
    "an agent of OpenInference": {"openinference.span.kind": "AGENT"},
    "a workflow of OpenLLMetry": {"traceloop.span.kind": "workflow"},
    "the outer span of Vercel's": {"ai.operationId": "ai.generateText"},
    "an agent of Langfuse": {"langfuse.observation.type": "agent"},
    "an agent run of Pydantic AI": {"model_name": "gpt-4o", "agent_name": "a"},
    "who knows": {},
}


@pytest.mark.parametrize("span", ROLL_UPS)
def test_what_is_no_inference_may_roll_up(span: str) -> None:
    """A span that is no inference may repeat its children's usage, and says so where it states any."""
    attributes = ROLL_UPS[span] | {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100}
    end = decoded(attributes).end
    assert end is not None
    assert (end.may_roll_up, end.usage["gpt-4o"].input_tokens) == (True, 100)
    silent = decoded(ROLL_UPS[span]).end
    assert silent is not None
    assert (silent.may_roll_up, silent.usage) == (False, {})


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.aggregated_usage.input_tokens": 100, "gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.usage.input_tokens": 100, "gen_ai.operation.name": "fetch_response"},
        {"gen_ai.usage.reasoning.output_tokens": 30},
        {"gen_ai.usage.input_tokens": ""},
        {"langfuse.observation.usage_details": "{}"},
    ],
)
def test_what_never_counts(attributes: Attributes) -> None:
    """Tokens that others used, that were used before, and parts of what is counted never count."""
    end = decoded(attributes).end
    assert end is not None
    assert end.usage == {}


def test_first_found_wins() -> None:
    """A span that states a count in two generations of names counts once; zero is stated too."""
    both = {"gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.input_tokens": 100, "llm.token_count.prompt": 9}
    end = decoded(both | {"gen_ai.usage.output_tokens": 0, "ai.usage.outputTokens": 5}).end
    assert end is not None
    assert end.usage == {"": UsageCounts(100, 0, 100, 0, 0, 1)}


def test_counts_in_other_types() -> None:
    """Counts as text and as whole floats are counts."""
    end = decoded({"gen_ai.usage.input_tokens": "100", "gen_ai.usage.output_tokens": 50.0}).end
    assert end is not None
    assert end.usage[""][:2] == (100, 50)


def test_the_table_has_each_attribute_once() -> None:
    """An attribute in two rows would be read for one of them only."""
    rows = [*SpanNames(), *UsageAttributes()]
    names = [name for row in rows for name in row] + [kind.attribute for kind in KINDS]
    assert len(names) == len(set(names))
    assert set(names) < places().keys()
