"""The names under which producers state what a call used: one table, which every format of events shares.

A name is a key of a model's usage; `a.b` is the key `b` of the object under the key `a`, and says nothing where `a` is
no object. Of a quantity, the first group of which any name is there (not null) decides, even with 0; its counts add up.
"""

from typing import NamedTuple

Group = tuple[str, ...]
"""Names of which those that are there are added up."""

DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")


def _in_details(key: str) -> tuple[Group, ...]:
    return tuple((f"{details}.{key}",) for details in DETAILS)


class UsageNames(NamedTuple):
    """Groups of names for each quantity of a call and a model; the first group is looked for first."""

    input_tokens: tuple[Group, ...] = (
        ("gross_input_tokens",),  # Weave's of a call whose input_tokens are net of what came from a cache
        ("prompt_tokens", "input_tokens"),  # OpenAI's chat completions; its responses, and Anthropic
        ("inputTokens",),  # Vercel's AI SDK from version 5 on, and Bedrock's Converse
        ("promptTokens",),  # Vercel's AI SDK before it
        ("prompt_token_count",),  # Gemini
        ("input",),  # Langfuse
        ("billed_units.input_tokens",),  # Cohere: what it bills
        ("tokens.input_tokens",),  # Cohere: what the model read
    )
    output_tokens: tuple[Group, ...] = (
        ("completion_tokens", "output_tokens"),
        ("outputTokens",),
        ("completionTokens",),
        ("candidates_token_count",),
        ("output",),
        ("billed_units.output_tokens",),
        ("tokens.output_tokens",),
    )
    thoughts_tokens: tuple[Group, ...] = (
        ("thoughts_tokens",),  # Gemini counts them beside its output, and bills them as output
        ("thoughts_token_count",),
    )
    total_tokens: tuple[Group, ...] = (
        ("total_tokens",),
        ("totalTokens",),
        ("total_token_count",),
    )
    cache_read_input_tokens: tuple[Group, ...] = (
        ("cache_read_input_tokens",),
        *_in_details("cached_tokens"),
        ("cached_tokens",),  # Moonshot, DeepInfra
        ("cacheReadInputTokens",),  # Bedrock's Converse
        ("cachedInputTokens",),  # Vercel's AI SDK
        ("cached_content_token_count",),  # Gemini
    )
    cache_creation_input_tokens: tuple[Group, ...] = (
        ("cache_creation_input_tokens",),
        *_in_details("cache_write_tokens"),
        ("cacheWriteInputTokens",),
    )
    requests: tuple[Group, ...] = (("requests",),)
    cache_creation_1h_input_tokens: tuple[Group, ...] = (
        ("cache_creation.ephemeral_1h_input_tokens",),  # Anthropic: of the cache creation, what is kept for an hour
    )


USAGE_NAMES = UsageNames()

TOKEN_QUANTITIES = UsageNames._fields[:6]
"""The quantities that make a usage one that is read: where none of their names is there, it says nothing of tokens."""
