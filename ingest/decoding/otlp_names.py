"""The attributes of OpenTelemetry spans that are read, in all the dialects that are about: one table, and no logic.

Of a row the first attribute that is there (and not empty) is taken. All others are skipped unread: prompts, answers,
and also `gen_ai.aggregated_usage.*`, in which a span repeats what others used.
"""

from typing import NamedTuple

Names = tuple[str, ...]


class SpanNames(NamedTuple):
    """What a span says besides its usage."""

    model: Names = (
        "gen_ai.response.model",
        "gen_ai.request.model",
        "langfuse.observation.model.name",
        "llm.model_name",  # OpenInference
        "embedding.model_name",
        "reranker.model_name",
        "ai.response.model",  # Vercel AI SDK
        "ai.model.id",
        "llm.response.model",  # OpenLLMetry before it took gen_ai
        "llm.request.model",
        "model_name",  # Pydantic AI's agent runs
    )
    thread: Names = (
        "wandb.thread_id",
        "gen_ai.conversation.id",
        "session.id",  # OpenInference, Langfuse
        "langfuse.session.id",
        "traceloop.association.properties.session_id",
        "ai.telemetry.metadata.sessionId",
    )
    turn: Names = ("wandb.turn_id",)
    user: Names = (
        "user.id",
        "langfuse.user.id",
        "enduser.id",
        "traceloop.association.properties.user_id",
        "ai.telemetry.metadata.userId",
        "metadata.user_api_key_user_id",  # LiteLLM
        "llm.user",
    )
    error: Names = ("error.type",)
    entity: Names = ("wandb.entity",)
    project: Names = ("wandb.project",)


class UsageAttributes(NamedTuple):
    """Attributes that state each quantity of a call's usage.

    `gen_ai.usage.input_tokens` is gross; reasoning and modalities are parts of what is counted already.
    """

    input_tokens: Names = (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",  # gen_ai before its version 1.27, OpenLLMetry, LiteLLM
        "llm.usage.prompt_tokens",  # OpenLLMetry before it took gen_ai
        "llm.token_count.prompt",  # OpenInference
        "ai.usage.inputTokens",  # Vercel AI SDK from version 5 on
        "ai.usage.promptTokens",  # and before it
        "ai.usage.tokens",  # its embeddings
    )
    output_tokens: Names = (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
        "llm.token_count.completion",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
    )
    total_tokens: Names = (
        "gen_ai.usage.total_tokens",
        "llm.usage.total_tokens",
        "llm.token_count.total",
        "ai.usage.totalTokens",
    )
    cache_read_input_tokens: Names = (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",  # OpenLLMetry
        "gen_ai.usage.input_tokens.cached",  # Sentry
        "gen_ai.usage.details.cache_read_tokens",  # Pydantic AI
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.details.cached_tokens",
        "llm.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
    )
    cache_creation_input_tokens: Names = (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",  # OpenLLMetry
        "gen_ai.usage.input_tokens.cache_write",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "llm.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
    )


USAGE_OBJECT = "langfuse.observation.usage_details"
"""An attribute whose text is a whole usage as JSON; taken where no attribute states a count."""

USAGE_OBJECT_KEYS = {
    "input_cached_tokens": "cache_read_input_tokens",
    "input_cache_read": "cache_read_input_tokens",
    "input_cache_creation": "cache_creation_input_tokens",
}
"""Keys of that JSON that Langfuse alone writes, and which name of usage they are."""


class Kind(NamedTuple):
    """An attribute that says what a span is, and the beginnings or ends of its values that are an inference."""

    attribute: str
    inference: frozenset[str]


KINDS: tuple[Kind, ...] = (
    Kind(
        "gen_ai.operation.name",
        frozenset({"chat", "text_completion", "generate_content", "embeddings", "completion", "embedding", "rerank"}),
    ),
    Kind("openinference.span.kind", frozenset({"llm", "embedding", "reranker"})),
    Kind("langfuse.observation.type", frozenset({"generation", "embedding"})),
    Kind("traceloop.span.kind", frozenset()),
    Kind(
        "ai.operationId",
        frozenset(
            {
                "ai.generatetext.dogenerate",
                "ai.streamtext.dostream",
                "ai.generateobject.dogenerate",
                "ai.streamobject.dostream",
                "ai.embed.doembed",
                "ai.embedmany.doembed",
                "ai.rerank.dorerank",
            }
        ),
    ),
    Kind(
        "llm.request.type",
        frozenset(
            {"chat", "completion", "embedding", "rerank", "acompletion", "aembedding", "responses", "aresponses"}
            | {"text_completion", "atext_completion", "arerank"}
        ),
    ),
)
"""What a span is: the first of these that is there decides. A span that says nothing of it is no inference."""

OPERATIONS_WITHOUT_USAGE = frozenset({"fetch_response"})
"""Values of `gen_ai.operation.name` of spans that fetch what another used."""

# Of a resource.
SERVICE_NAME, SERVICE_NAMESPACE = "service.name", "service.namespace"
UNKNOWN_SERVICE = "unknown_service"


def places() -> dict[str, tuple[str, int]]:
    """Return row and rank of every attribute in the table; one that stands alone is its own row."""
    found = {}
    for names in (SpanNames(), UsageAttributes()):
        for row, attributes in zip(names._fields, names, strict=True):
            found.update({attribute: (row, rank) for rank, attribute in enumerate(attributes)})
    alone = [USAGE_OBJECT, SERVICE_NAME, SERVICE_NAMESPACE]
    found.update({attribute: (attribute, 0) for attribute in alone})
    found.update({kind.attribute: ("kind", rank) for rank, kind in enumerate(KINDS)})
    return found
