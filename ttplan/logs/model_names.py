"""The names of providers and models, as gateways spell them, in the catalogue's spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo

from ttplan.logs.rows import CatalogueModel

# By the catalogue's id: what else gateways and tracing tools call a provider.
_ALIASES = {
    "anthropic": "anthropic_text claude",
    "aws": "bedrock bedrock_converse amazon_bedrock aws_bedrock aws.bedrock amazon",
    "azure": "azure_ai azure_text azure_openai azureopenai az.ai.openai azure.ai.openai az.ai.inference azure.ai.inference",
    "cerebras": "cerebras_ai",
    "cloudflare": "workers_ai cloudflare_workers_ai",
    "cohere": "cohere_chat",
    "databricks": "",
    "deepseek": "",
    "elevenlabs": "eleven_labs",
    "fireworks": "fireworks_ai",
    "github-copilot": "",
    "google": "gemini vertex vertex_ai vertex_ai_beta vertexai google_vertex google_vertex_ai google_ai google_ai_studio "
    "google_genai google_generative_ai gcp.gemini gcp.gen_ai gcp.vertex_ai",
    "groq": "groqcloud",
    "minimax": "",
    "mistral": "mistralai mistral_ai codestral text_completion_codestral",
    "moonshotai": "moonshot moonshot_ai",
    "novita": "novita_ai",
    "openai": "text_completion_openai open_ai",
    "openrouter": "open_router",
    "ovhcloud": "ovh",
    "perplexity": "perplexity_ai pplx",
    "together": "together_ai togetherai",
    "voyageai": "voyage voyage_ai",
    "x-ai": "xai x_ai",
    "zai": "z_ai z.ai",
    "zhipuai": "zhipu",
}
_PROVIDERS = {
    spelling: known
    for known, others in _ALIASES.items()
    for spelling in (known.replace("-", "_"), *others.split())
}
_GATEWAYS = frozenset(
    {
        "",
        "litellm",
        "litellm_proxy",
        "gateway",
        "ai_gateway",
        "proxy",
        "helicone",
        "portkey",
        "unknown",
        "none",
    }
)
"""What stands for a provider where the log does not say who served a request: the model's name then tells."""

_REGION = r"[a-z]{2,3}(?:-gov)?-[a-z]+-?\d"
# What stands before a model's name at some providers; `at` is the endpoint that it tells.
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
"""Bedrock's cross-region profiles, which some models have prices of their own for."""
_DATE = re.compile(
    r"[-@](?:20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|default|latest)(?=$|-v\d)"
)
_REVISION = re.compile(r"(?:-v\d+)?(?::\d+k?)?$")


@lru_cache(maxsize=100_000)
def normalise_model(provider: str | None, model: str) -> CatalogueModel:
    """A logged provider and model by the catalogue's ids, and the endpoint where the name told one.

    Aliases, a provider's name in front (`azure/`, `bedrock/us-east-1/`, `vertex_ai/`), paths (`models/…`, ARNs), regions, dates
    and revisions are understood. What the catalogue does not know stays as it was, but for its own provider's name in front of a
    model; so does a fine-tuned model. Where the log names no provider, or only a gateway, the model's name tells it, if it can.
    """
    owner = known_provider(provider)
    prefix, slash, rest = model.partition("/")
    named = _PROVIDERS.get(_key(prefix)) if slash and rest else None
    if owner is None and _key(provider or "") in _GATEWAYS:
        owner = named or _owner(model)
        if owner is None:
            return CatalogueModel(provider or "", model)
    if owner is None:
        return CatalogueModel(provider or "", model)
    own = rest if named == owner else model
    bare, endpoint = _without_path(owner, own)
    if bare.startswith("ft:"):
        return CatalogueModel(owner, bare, endpoint)
    known = next(
        (
            found
            for name in (*_spellings(bare), model)
            if (found := _known(owner, name)) is not None
        ),
        None,
    )
    geography = _GEOGRAPHY.match(bare.lower()) if owner == "aws" else None
    return CatalogueModel(owner, known or bare, geography["at"] if geography else endpoint)


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def known_provider(name: str | None) -> str | None:
    """The catalogue's id of a provider, None where it is not known: by its own names, never by one that only resembles them."""
    if name is None:
        return None
    plain = name.strip().lower()
    listed = next((p.id for p in get_snapshot().providers if p.id == plain), None)
    # LiteLLM says vertex_ai-anthropic_models and the like for what others serve there.
    return (
        listed
        or _PROVIDERS.get(_key(name))
        or ("google" if plain.startswith("vertex_ai-") else None)
    )


def _owner(model: str) -> str | None:
    """Whose model the catalogue says a name is."""
    try:
        return get_snapshot().find_provider(model.lower(), None, None).id
    except LookupError:
        return None


def _without_path(owner: str, model: str) -> tuple[str, str | None]:
    endpoint = None
    for path in _PATHS.get(owner, ()):
        found = path.match(model)
        if found and len(model) > found.end():
            endpoint = found.groupdict().get("at") or endpoint
            model = model[found.end() :]
    return model, endpoint


def _spellings(model: str) -> Iterator[str]:
    """How the catalogue may spell a model, the most exact first."""
    yield model
    yield model.replace("@", "-")
    undated = _DATE.sub("", model)
    if undated != model:
        yield undated
    yield _REVISION.sub("", undated)


def _known(owner: str, model: str) -> str | None:
    """The catalogue's id of a provider's model, or, where the catalogue would not know its own id again, the name as it is."""
    info = _find(owner, model)
    if info is None:
        return None
    return info.id if _find(owner, info.id) is info else model


def _find(owner: str, model: str) -> ModelInfo | None:
    try:
        return get_snapshot().find_provider_model(model, None, owner, None)[1] if model else None
    except LookupError:
        return None
