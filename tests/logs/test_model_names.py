"""Normalising the model names that gateways log to the catalogue's ids."""

from __future__ import annotations

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from ttplan.logs.model_names import normalise_model
from ttplan.logs.rows import CatalogueModel

SPELLINGS = [
    ("openai", "gpt-4o", "openai", "gpt-4o", None),
    ("OpenAI", "GPT-4o", "openai", "gpt-4o", None),
    ("openai", "openai/gpt-4o-mini", "openai", "gpt-4o-mini", None),
    ("openai", "gpt-4o-2024-08-06", "openai", "gpt-4o", None),
    ("openai", "gpt-4o-2024-05-13", "openai", "gpt-4o-2024-05-13", None),
    ("openai", "gpt-5.2-20251211", "openai", "gpt-5.2", None),
    ("text-completion-openai", "gpt-3.5-turbo-instruct", "openai", "gpt-3.5-turbo-instruct", None),
    ("openai", "text-embedding-3-small", "openai", "text-embedding-3-small", None),
    (
        "openai",
        "ft:gpt-4o-mini-2024-07-18:acme::Ab3",
        "openai",
        "ft:gpt-4o-mini-2024-07-18:acme::Ab3",
        None,
    ),
    ("azure", "azure/ft:gpt-4o-2024-08-06:acme", "azure", "ft:gpt-4o-2024-08-06:acme", None),
    ("openai", "gpt-4o-our-own", "openai", "gpt-4o-our-own", None),
    ("anthropic", "claude-3-5-sonnet-20241022", "anthropic", "claude-3-5-sonnet", None),
    ("anthropic", "anthropic/claude-haiku-4-5-20251001", "anthropic", "claude-haiku-4-5", None),
    ("anthropic", "claude-sonnet-4-5@20250929", "anthropic", "claude-sonnet-4-5", None),
    ("azure", "azure/gpt-4o", "azure", "gpt-4o", None),
    ("azure", "azure/eu/gpt-4o-2024-08-06", "azure", "gpt-4o", "eu"),
    ("azure", "azure/global-standard/gpt-4o-mini", "azure", "gpt-4o-mini", "global-standard"),
    ("azure", "gpt-35-turbo", "azure", "gpt-3.5-turbo", None),
    ("azure", "azure/our-deployment", "azure", "our-deployment", None),
    ("azure-openai", "gpt-4o", "azure", "gpt-4o", None),
    ("azure-openai.chat", "gpt-4o", "azure", "gpt-4o", None),
    ("azure.responses", "gpt-4o", "azure", "gpt-4o", None),
    ("groq.chat", "llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile", None),
    ("xai.chat", "grok-3", "x-ai", "grok-3", None),
    ("openai.responses", "gpt-4o", "openai", "gpt-4o", None),
    ("google.generative-ai", "gemini-2.5-flash", "google", "gemini-2.5-flash", None),
    ("google.vertex.chat", "gemini-2.5-flash", "google", "gemini-2.5-flash", None),
    ("vertex.anthropic.messages", "claude-sonnet-4-5", "google", "claude-sonnet-4-5", None),
    ("bedrock.anthropic.messages", "amazon.nova-lite-v1:0", "aws", "amazon.nova-lite-v1:0", None),
    ("strands-agents", "amazon.nova-lite-v1:0", "aws", "amazon.nova-lite-v1:0", None),
    ("langchain", "gpt-4o", "openai", "gpt-4o", None),
    ("langchain_openai", "gpt-4o", "openai", "gpt-4o", None),
    ("spring_ai", "claude-haiku-4-5", "anthropic", "claude-haiku-4-5", None),
    ("pydantic-ai", "anthropic:claude-haiku-4-5", "anthropic", "claude-haiku-4-5", None),
    ("openai-compatible.chat", "own", "openai-compatible.chat", "own", None),
    ("az.ai.openai", "gpt-4o", "azure", "gpt-4o", None),
    ("azure.ai.inference", "phi-4", "azure", "phi-4", None),
    ("azure_ai", "azure_ai/deepseek-v3.2", "azure", "deepseek-v3.2", None),
    (
        "bedrock",
        "bedrock/us-east-1/anthropic.claude-3-5-sonnet-20241022-v2:0",
        "aws",
        "regional.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "us-east-1",
    ),
    (
        "bedrock_converse",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "aws",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us",
    ),
    (
        "bedrock",
        "bedrock/converse/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "aws",
        "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "eu",
    ),
    (
        "aws.bedrock",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "aws",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global",
    ),
    (
        "aws.bedrock",
        "arn:aws:bedrock:eu-west-3:123456789012:inference-profile/"
        "eu.anthropic.claude-3-haiku-20240307-v1:0",
        "aws",
        "regional.anthropic.claude-3-haiku-20240307-v1:0",
        "eu",
    ),
    (
        "amazon-bedrock",
        "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0",
        "aws",
        "amazon.nova-lite-v1:0",
        "us-west-2",
    ),
    ("bedrock", "us.amazon.nova-pro-v1:0", "aws", "amazon.nova-pro-v1:0", "us"),
    ("bedrock", "meta.llama3-1-8b-instruct-v1:0", "aws", "meta.llama3-1-8b-instruct-v1:0", None),
    ("vertex_ai", "vertex_ai/gemini-2.5-flash", "google", "gemini-2.5-flash", None),
    (
        "vertex_ai-anthropic_models",
        "claude-3-5-sonnet@20240620",
        "google",
        "claude-3-5-sonnet",
        None,
    ),
    ("gemini", "models/gemini-2.5-pro", "google", "gemini-2.5-pro", None),
    ("gemini", "gemini/gemini-2.0-flash", "google", "gemini-2.0-flash", None),
    ("gcp.gen_ai", "gemini-2.5-flash-lite", "google", "gemini-2.5-flash-lite", None),
    (
        "gcp.vertex_ai",
        "projects/acme/locations/europe-west4/publishers/google/models/gemini-2.5-flash",
        "google",
        "gemini-2.5-flash",
        "europe-west4",
    ),
    ("google-ai-studio", "gemini-2.5-pro", "google", "gemini-2.5-pro", None),
    (
        "openrouter",
        "anthropic/claude-3.5-sonnet",
        "openrouter",
        "anthropic/claude-3.5-sonnet",
        None,
    ),
    (
        "openrouter",
        "openrouter/anthropic/claude-3.5-sonnet",
        "openrouter",
        "anthropic/claude-3.5-sonnet",
        None,
    ),
    ("groq", "openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b", None),
    ("groq", "groq/llama-3.1-8b-instant", "groq", "llama-3.1-8b-instant", None),
    (
        "together_ai",
        "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "together",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        None,
    ),
    (
        "fireworks_ai",
        "fireworks_ai/accounts/fireworks/models/deepseek-v3p2",
        "fireworks",
        None,
        None,
    ),
    ("mistralai", "mistral/mistral-large-latest", "mistral", "mistral-large", None),
    ("xai", "xai/grok-3-mini", "x-ai", "grok-3-mini", None),
    ("deepseek", "deepseek/deepseek-chat", "deepseek", "deepseek-chat", None),
    ("moonshot", "moonshot/kimi-k2-thinking", "moonshotai", "kimi-k2-thinking", None),
    ("cohere_chat", "command-r-plus", "cohere", "command-r-plus", None),
    ("voyage", "voyage/voyage-3-lite", "voyageai", "voyage-3-lite", None),
    # With a gateway or no provider, the model's name decides.
    (None, "gpt-4o", "openai", "gpt-4o", None),
    ("", "claude-haiku-4-5", "anthropic", "claude-haiku-4-5", None),
    ("litellm", "azure/gpt-4o-mini", "azure", "gpt-4o-mini", None),
    ("litellm_proxy", "bedrock/amazon.nova-micro-v1:0", "aws", "amazon.nova-micro-v1:0", None),
    ("unknown", "openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o", None),
    (None, "our-own-model", "", "our-own-model", None),
    ("", "our/own-model", "", "our/own-model", None),
    # A name that only resembles a known one stays as it is.
    ("our-openai-proxy", "gpt-4o", "our-openai-proxy", "gpt-4o", None),
    ("local", "llama-3.3-70b", "local", "llama-3.3-70b", None),
    ("vllm", "openai/gpt-oss-20b", "vllm", "openai/gpt-oss-20b", None),
    ("openai", "anthropic/claude-haiku-4-5", "openai", "anthropic/claude-haiku-4-5", None),
    ("anthropic", "", "anthropic", "", None),
    ("azure", "azure/", "azure", "azure/", None),
    ("google", "models/", "google", "models/", None),
]


@pytest.mark.parametrize(("provider", "model", "owner", "name", "endpoint"), SPELLINGS)
def test_a_spelling_is_understood(
    provider: str | None, model: str, owner: str, name: str | None, endpoint: str | None
) -> None:
    result = normalise_model(provider, model)
    assert (result.provider, result.endpoint) == (owner, endpoint)
    if name is not None:
        assert result.model == name
    # Normalising is idempotent, so that rows of two imports have the same name.
    second = normalise_model(result.provider, result.model)
    assert (second.provider, second.model) == (result.provider, result.model)


def test_catalogue_names_resolve_to_the_same_model() -> None:
    snapshot = get_snapshot()
    for provider in snapshot.providers:
        for model in provider.models:
            try:
                known = snapshot.find_provider_model(model.id, None, provider.id, None)[1]
            except LookupError:
                continue
            # Perplexity's catalogue has names with its own prefix for another interface, which
            # cannot be told from a gateway's prefix.
            if not model.id.startswith(("ft:", f"{provider.id}/")):
                named = normalise_model(provider.id, model.id)
                assert (
                    snapshot.find_provider_model(named.model, None, named.provider, None)[1]
                    is known
                ), model.id


@settings(max_examples=30)
@given(st.one_of(st.none(), st.text(max_size=20)), st.text(max_size=60))
def test_every_text_is_accepted_as_a_name(provider: str | None, model: str) -> None:
    result = normalise_model(provider, model)
    assert isinstance(result, CatalogueModel)
    assert bool(result.model) == bool(model)
