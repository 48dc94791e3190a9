"""Normalises the names of providers and models, as gateways spell them, to the catalogue's ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo

from ttplan.logs.rows import CatalogueModel

# Other names of a provider in gateways and tracing tools, by the catalogue's id.
_ALIASES = {
    "anthropic": "anthropic_text claude chatanthropic",
    "aws": "bedrock bedrock_converse amazon_bedrock aws_bedrock aws.bedrock amazon chatbedrock "
    "chatbedrockconverse",
    "azure": "azure_ai azure_text azure_openai azureopenai azurechatopenai az.ai.openai "
    "azure.ai.openai az.ai.inference azure.ai.inference",
    "cerebras": "cerebras_ai",
    "cloudflare": "workers_ai cloudflare_workers_ai",
    "cohere": "cohere_chat",
    "databricks": "",
    "deepseek": "",
    "elevenlabs": "eleven_labs",
    "fireworks": "fireworks_ai",
    "github-copilot": "",
    "google": "gemini vertex vertex_ai vertex_ai_beta vertexai google_vertex google_vertex_ai "
    "google_ai google_ai_studio google_genai google_generative_ai gcp.gemini gcp.gen_ai "
    "gcp.vertex_ai gcp.vertex.agent chatgooglegenerativeai chatvertexai",
    "groq": "groqcloud",
    "minimax": "",
    "mistral": "mistralai mistral_ai codestral text_completion_codestral",
    "moonshotai": "moonshot moonshot_ai",
    "novita": "novita_ai",
    "openai": "text_completion_openai open_ai chatopenai",
    "openrouter": "open_router",
    "ovhcloud": "ovh",
    "perplexity": "perplexity_ai pplx",
    "together": "together_ai togetherai",
    "voyageai": "voyage voyage_ai",
    "x-ai": "xai x_ai",
    "zai": "z_ai z.ai",
    "zhipuai": "zhipu",
}
_PROVIDER_BY_ALIAS = {
    alias: provider
    for provider, aliases in _ALIASES.items()
    for alias in (provider.replace("-", "_"), *aliases.split())
}
_NO_PROVIDERS = (
    "litellm litellm_proxy gateway ai_gateway proxy helicone portkey unknown none null other"
    " custom vercel vercel_ai_gateway ai_sdk vercel_ai_sdk strands strands_agents langchain"
    " langgraph langsmith langfuse spring_ai pydantic_ai pydantic_ai_slim llamaindex llama_index"
    " crewai autogen ag2 agno haystack dspy smolagents semantic_kernel mastra genkit openai_agents"
    " google_adk adk microsoft_agent_framework traceloop openllmetry openlit opentelemetry logfire"
    " openinference phoenix mlflow instructor marvin beeai langchain4j quarkus_langchain4j"
    " claude_code opencode n8n flowise dify"
)
"""Gateways and frameworks, logged instead of a provider: the provider then follows from the
model."""

_REGION = r"[a-z]{2,3}(?:-gov)?-[a-z]+-?\d"
# Prefixes of a model's name at some providers; `at` is the endpoint.
_PATHS = {
    "aws": (
        re.compile(
            r"(?i)arn:[\w-]*:bedrock:(?P<at>[a-z0-9-]*):\d*:(?:foundation-model|inference-profile)/"
        ),
        re.compile(r"(?i)(?:converse|converse_like|invoke)/"),
        re.compile(rf"(?i)(?P<at>{_REGION})/"),
        re.compile(r"(?i)\d-month-commitment/"),
    ),
    "azure": (
        re.compile(
            r"(?i)(?P<at>eu|us|global|global-standard|data-zone|data-zone-standard|standard)/"
        ),
    ),
    "google": (
        re.compile(r"(?i)projects/[^/]+/locations/(?P<at>[^/]+)/"),
        re.compile(r"(?i)publishers/[^/]+/"),
        re.compile(r"(?i)models/"),
    ),
}
_GEOGRAPHY = re.compile(r"(?P<at>us-gov|us|eu|apac|jp|au|ca|sa|global)\.(?=[a-z0-9]+\.)")
"""Bedrock's cross-region profiles; some models have separate prices for them."""
_BEDROCK = re.compile(
    r"(?i)arn:[\w-]*:bedrock:|(?:(?:us-gov|us|eu|apac|jp|au|ca|sa|global)\.)?(?:ai21|amazon|anthropic"
    r"|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    r"|stability|twelvelabs|writer|zai)\.[a-z]"
)
"""Bedrock's ids: an ARN, or a maker and a dot."""
_COLON = re.compile(r"(?P<prefix>[a-z][\w-]*):(?=[a-zA-Z])")
"""A provider before a model, as pydantic-ai and others write it: `anthropic:claude-haiku-4-5`."""
_DATE = re.compile(
    r"[-@](?:20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|default|latest)(?=$|-v\d)"
)
_REVISION = re.compile(r"(?:-v\d+)?(?::\d+k?)?$")


@lru_cache(maxsize=100_000)
def normalise_model(provider: str | None, model: str) -> CatalogueModel:
    """The catalogue's ids of a logged provider and model, and the endpoint if the name has one.

    Understands aliases, a provider's name as a prefix (`azure/`, `bedrock/us-east-1/`,
    `vertex_ai/`), paths (`models/…`, ARNs), regions, dates and revisions. A name that the catalogue
    does not know stays as it is, without its provider's prefix; so does a fine-tuned model. If the
    log has no provider, or only a gateway, the provider follows from the model, if possible.
    """
    owner = known_provider(provider)
    is_unknown = owner is None and _is_no_provider(provider)
    if is_unknown and (match := _COLON.match(model)) and known_provider(match["prefix"]):
        model = f"{match['prefix']}/{model[match.end() :]}"
    prefix, slash, rest = model.partition("/")
    prefix_owner = _PROVIDER_BY_ALIAS.get(_alias(prefix)) if slash and rest else None
    if is_unknown:
        owner = prefix_owner or _model_owner(model)
    if owner is None:
        return CatalogueModel(provider or "", model)
    bare, endpoint = _split_path(owner, rest if prefix_owner == owner else model)
    if bare.startswith("ft:"):
        return CatalogueModel(owner, bare, endpoint)
    candidates = (_catalogue_id(owner, name) for name in (*_spellings(bare), model))
    geography = _GEOGRAPHY.match(bare.lower()) if owner == "aws" else None
    return CatalogueModel(
        owner,
        next(filter(None, candidates), bare),
        geography["at"] if geography else endpoint,
    )


def known_provider(name: str | None) -> str | None:
    """The catalogue's id of a provider; None if none of its names matches exactly."""
    if name is None:
        return None
    plain = name.strip().lower()
    if any(provider.id == plain for provider in get_snapshot().providers):
        return plain
    # LiteLLM logs vertex_ai-anthropic_models and the like for models of others on Vertex AI.
    if plain.startswith("vertex_ai-"):
        return "google"
    # The AI SDK adds the kind of API: openai.responses, bedrock.anthropic.messages.
    while plain:
        if (alias := _alias(plain)) in _PROVIDER_BY_ALIAS:
            return _PROVIDER_BY_ALIAS[alias]
        plain = plain.rpartition(".")[0]
    return None


def _is_no_provider(name: str | None) -> bool:
    """Whether a name is that of a gateway or framework, also with more behind it."""
    alias = _alias(name or "") or "none"
    stem = re.split(r"[.:]", alias)[0]
    return any(
        text in (alias, stem) or alias.startswith(f"{text}_") for text in _NO_PROVIDERS.split()
    )


def _alias(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _model_owner(model: str) -> str | None:
    """The provider whose ids look like a model name, or to which the catalogue attributes it."""
    if _BEDROCK.match(model):
        return "aws"
    try:
        return get_snapshot().find_provider(model.lower(), None, None).id
    except LookupError:
        return None


def _split_path(owner: str, model: str) -> tuple[str, str | None]:
    """A model name without its provider's prefixes, and the endpoint that they name."""
    endpoint = None
    for path in _PATHS.get(owner, ()):
        match = path.match(model)
        if match and len(model) > match.end():
            endpoint = match.groupdict().get("at") or endpoint
            model = model[match.end() :]
    return model, endpoint


def _spellings(model: str) -> Iterator[str]:
    """Possible spellings of a model in the catalogue, the most exact first."""
    yield model
    yield model.replace("@", "-")
    undated = _DATE.sub("", model)
    if undated != model:
        yield undated
    yield _REVISION.sub("", undated)


def _catalogue_id(owner: str, model: str) -> str | None:
    """The catalogue's id of a provider's model; the name itself if the catalogue does not resolve
    its own id to the same model."""
    info = _find(owner, model)
    if info is None:
        return None
    return info.id if _find(owner, info.id) is info else model


def _find(owner: str, model: str) -> ModelInfo | None:
    try:
        return get_snapshot().find_provider_model(model, None, owner, None)[1] if model else None
    except LookupError:
        return None
