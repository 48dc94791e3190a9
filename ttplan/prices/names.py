"""Names of providers and models: how one catalogue's relate to another's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider

_ORIGIN = re.compile(r"(?:[a-z][a-z-]*\.)+(?=[a-z0-9])")
"""Regions and makers before a Bedrock model: `us.anthropic.`."""
_DATE = re.compile(
    r"[-@](?:20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|default|latest)(?=$|-v\d)"
)
_REVISION = re.compile(r"(?:-v\d+)?:\d+k?$")


def find_listed(provider: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
    """The price catalogue's provider and model of those names; None if it has none.

    Without a provider it is the one to which the catalogue attributes the model.
    """
    try:
        return get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None


def provider_id(provider: str) -> str:
    """The price catalogue's id of a provider; the name in lower case if it has none."""
    try:
        return get_snapshot().find_provider(None, provider, None).id
    except LookupError:
        return provider.strip().lower()


def maker_id(model: str) -> str | None:
    """The price catalogue's id of the maker of a model; None if it does not know the name."""
    try:
        return get_snapshot().find_provider(plain_name(model), None, None).id
    except LookupError:
        return None


def plain_name(model: str) -> str:
    """A model's name in lower case without a path, region, maker, revision and date.

    Examples
    --------
    >>> plain_name("us.anthropic.claude-haiku-4-5-20251001-v1:0")
    'claude-haiku-4-5'
    >>> plain_name("accounts/fireworks/models/kimi-k2p5")
    'kimi-k2p5'
    """
    name = base_model(model).lower().rpartition("/")[2]
    bare = _ORIGIN.sub("", name, count=1) if _ORIGIN.match(name) else name
    undated = _DATE.sub("", _REVISION.sub("", bare))
    return re.sub(r"-v\d+$", "", undated) if bare != name else undated


def base_model(model: str) -> str:
    """The model that a fine-tuned one (`ft:gpt-4o-mini:acme::1`) is made of; else the name."""
    parts = model.split(":")
    return parts[1] if parts[0] == "ft" and len(parts) > 1 else model


def spellings(provider: str, model: str) -> Iterator[str]:
    """The names under which a catalogue may list a model, the most exact first."""
    base = base_model(model)
    yield base.lower()
    yield plain_name(model).replace(".", "-")
    listed = find_listed(provider, model)
    if listed is not None:
        yield plain_name(listed[1].id).replace(".", "-")
