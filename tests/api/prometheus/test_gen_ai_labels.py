"""What a model's and an op's name say of provider and operation, and that nothing is said of what is not known."""

import pytest

from api.prometheus.gen_ai_labels import gen_ai_labels, operation_of, provider_of


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-2024-08-06", "openai"),
        ("claude-3-5-sonnet-20241022", "anthropic"),
        ("azure/gpt-4o", "azure.ai.openai"),
        ("azure_ai/phi-4", "azure.ai.inference"),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "aws.bedrock"),
        ("gemini-1.5-pro", "gcp.gen_ai"),
        ("vertex_ai/gemini-1.5-pro", "gcp.vertex_ai"),
        ("grok-3", "x_ai"),
        ("our-openai/gpt-4o", ""),  # of somebody who has a word in common with a provider
        ("house-1", ""),
        ("", ""),
    ],
)
def test_provider(model: str, provider: str) -> None:
    """The names of the conventions; none where the catalogue knows no such model, or several providers of it."""
    assert provider_of(model) == provider


@pytest.mark.parametrize(
    ("op_name", "operation"),
    [
        ("chat gpt-4o", "chat"),
        ("embeddings text-embedding-3-small", "embeddings"),
        ("text_completion", "text_completion"),
        ("weave:///acme/agents/op/openai.chat.completions.create:v3", "chat"),
        ("anthropic.beta.AsyncMessages.stream", "chat"),
        ("google.genai.models.Models.generate_content", "generate_content"),
        ("openai.embeddings.create", "embeddings"),
        ("chat with a customer", ""),
        ("weave:///acme/agents/op/llm.chat:v2", ""),
        ("my.openai.chat.completions.create", ""),
        ("openai.moderations.create", ""),
    ],
)
def test_operation(op_name: str, operation: str) -> None:
    """Spans by the conventions and ops of Weave's integrations, with or without the address of the op."""
    assert operation_of(op_name) == operation


def test_ops_that_are_not_told_apart() -> None:
    """Nothing is said of the operation; the older name of a provider stands beside the newer one."""
    labels = gen_ai_labels("grok-3", None)
    assert labels["gen_ai.operation.name"] == ""
    assert (labels["gen_ai.provider.name"], labels["gen_ai.system"]) == ("x_ai", "xai")
    assert labels["gen_ai.request.model"] == labels["gen_ai.response.model"] == "grok-3"
