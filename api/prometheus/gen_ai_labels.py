"""OpenTelemetry's gen_ai labels of a call, as far as they are known from what is stored: its model and its op. Pure.

A label that is not known is absent. Source of names and values: OpenTelemetry's semantic conventions for generative AI.
"""

import re
from functools import cache, lru_cache

from genai_prices.data import providers

from aggregator.prices.model_names import ModelNames

REQUEST_MODEL, RESPONSE_MODEL, TOKEN_TYPE = "gen_ai.request.model", "gen_ai.response.model", "gen_ai.token.type"
OPERATION = "gen_ai.operation.name"
# `gen_ai.system` is what the provider was called before version 1.37 of the conventions.
PROVIDER, SYSTEM = "gen_ai.provider.name", "gen_ai.system"
LABELS = (REQUEST_MODEL, RESPONSE_MODEL, OPERATION, PROVIDER, SYSTEM)

# Models, and ops, whose labels are remembered; some hundred bytes each.
NAMES_KEPT_MAX = 10_000

# By the catalogue's id of a provider; of others the id itself, as the conventions allow.
_PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "x-ai": "x_ai",
}
# Before a model's name, as LiteLLM writes it, where that says more than whose model it is.
_FRONTS = {"azure_ai": "azure.ai.inference", "gemini": "gcp.gemini", "vertex_ai": "gcp.vertex_ai"}
_OF_SYSTEM = {"x_ai": "xai"}

# A span's name by the conventions: the operation, and its model.
_SPAN = re.compile(r"(chat|text_completion|embeddings|generate_content)(?: \S+)?")
# Ops of Weave's integrations, by how their names end.
_ENDINGS = (
    (
        "chat",
        r"(?:openai|groq|groq\.async|cerebras)(?:\.beta)?\.chat\.completions\.(?:create|parse)|openai\.responses\.(?:create|parse)"
        r"|anthropic\.(?:beta\.)?(?:Async)?Messages\.(?:create|stream|parse)|mistralai\.(?:async_client\.)?chat\.(?:complete|stream)"
        r"|litellm\.a?completion|cohere\.(?:Async)?Client(?:V2)?\.chat(?:_stream)?|BedrockRuntime\.converse(?:_stream)?"
        r"|huggingface_hub\.(?:Async)?InferenceClient\.chat_completion",
    ),
    ("embeddings", r"openai\.embeddings\.create"),
    ("generate_content", r"(?:google|vertexai)\.(?:\w+\.)*\w*\.generate_content(?:_async|_stream)?"),
)
_OPS = [(operation, re.compile(ending)) for operation, ending in _ENDINGS]
_OP_OF_REF = re.compile(r"weave:///.*/op/([^:/]+)(?::.*)?")


def gen_ai_labels(model: str, op_name: str | None) -> dict[str, str]:
    """Labels of what an op used of a model; "" for one that is not known. `op_name` None: ops are not told apart."""
    provider = provider_of(model)
    return {
        REQUEST_MODEL: model,
        RESPONSE_MODEL: model,
        PROVIDER: provider,
        SYSTEM: _OF_SYSTEM.get(provider, provider),
        OPERATION: "" if op_name is None else operation_of(op_name),
    }


@lru_cache(NAMES_KEPT_MAX)
def provider_of(model: str) -> str:
    """The provider that a model's name says: by what stands before it, or by whom the catalogue gives such names to."""
    front, _, rest = model.lower().partition("/")
    if rest and front in _FRONTS:
        return _FRONTS[front]
    found = _names().provider_id(model)
    return "" if found is None else _PROVIDERS.get(found, found)


@lru_cache(NAMES_KEPT_MAX)
def operation_of(op_name: str) -> str:
    """The operation that an op's name says: a span's by the conventions, or an op of Weave's integrations."""
    ref = _OP_OF_REF.fullmatch(op_name)
    name = op_name if ref is None else ref[1]
    span = _SPAN.fullmatch(name)
    if span is not None:
        return span[1]
    return next((operation for operation, ending in _OPS if ending.fullmatch(name)), "")


@cache
def _names() -> ModelNames:
    return ModelNames(providers)
