"""How providers cache prompts, by their public documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from ttplan.model.projection.capabilities import CacheRule
from ttplan.prices.names import plain_name, provider_id

_MINUTES, _HOURS = 60, 3_600
_READ = date(2026, 11, 30)
"""The day on which pages without a date of their own were compared with this table."""
_CLAUDE_READ, _GEMINI_READ = date(2026, 10, 7), date(2026, 10, 13)
"""The dates of the tables of minimum lengths."""
_UNDOCUMENTED = 5 * _MINUTES
"""The time that a prefix is assumed to stay warm where a provider names none."""


class ProviderRule(NamedTuple):
    """The rule of the models of a provider whose plain name begins with a match of `models`.

    `provider` is the price catalogue's id. The first rule that matches applies.
    """

    provider: str
    models: str
    rule: CacheRule


def _automatic(minimum: int, ttl: int, source: str, as_of: date = _READ) -> CacheRule:
    return CacheRule(
        mode="automatic",
        minimum_tokens=minimum,
        ttl_seconds=ttl,
        source=f"https://{source}",
        as_of=as_of,
    )


def _explicit(
    minimum: int, source: str, long_ttl: int | None = _HOURS, ttl: int = 5 * _MINUTES
) -> CacheRule:
    return CacheRule(
        mode="explicit",
        minimum_tokens=minimum,
        ttl_seconds=ttl,
        long_ttl_seconds=long_ttl,
        source=f"https://{source}",
        as_of=_CLAUDE_READ,
    )


_ANTHROPIC = "platform.claude.com/docs/en/build-with-claude/prompt-caching"
_BEDROCK = "docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"
_GEMINI = "ai.google.dev/gemini-api/docs/caching"
_OPENAI = "developers.openai.com/api/docs/guides/prompt-caching"
_AZURE = "learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching"
_ALL = ""
# Newer Claude models than these have the highest minimum until their own is entered.
_CLAUDE_MINIMUM = (
    (r"claude-(?:opus|fable|mythos)-5(?:$|-v|@)", 512),
    (r"claude-(?:3-5-haiku|3-haiku|opus-4-7)", 2_048),
    (r"claude-(?:opus-4-[56]|haiku-4-5)", 4_096),
    (r"claude-(?:3-|(?:opus|sonnet)-4|4-|sonnet-5(?:$|-v|@))", 1_024),
    ("claude-", 4_096),
)


def _claude_rules(provider: str, source: str) -> Iterator[ProviderRule]:
    for models, minimum in _CLAUDE_MINIMUM:
        yield ProviderRule(provider, models, _explicit(minimum, source))


def _openai_rules(provider: str, source: str) -> Iterator[ProviderRule]:
    """Caches in memory are cleared after 5 to 10 minutes without use; since GPT-5.6 after 30."""
    yield ProviderRule(provider, r"gpt-(?:5-[6-9]|[6-9])", _automatic(1_024, 30 * _MINUTES, source))
    yield ProviderRule(
        provider,
        r"(?:gpt-4o|chatgpt-4o|gpt-4-[1-9]|gpt-5|o[134](?:-|$)|codex)",
        _automatic(1_024, 5 * _MINUTES, source),
    )
    # Models before GPT-4o do not cache.
    yield ProviderRule(
        provider,
        r"gpt-(?:3|4)(?:-|$)",
        CacheRule(mode="none", source=f"https://{source}", as_of=_READ),
    )


RULES: tuple[ProviderRule, ...] = (
    *_openai_rules("openai", _OPENAI),
    *_openai_rules("azure", _AZURE),
    *_claude_rules("anthropic", _ANTHROPIC),
    *_claude_rules("azure", _ANTHROPIC),
    *_claude_rules(
        "google",
        "docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/prompt-caching",
    ),
    ProviderRule("aws", "claude-opus-4-7", _explicit(4_096, _BEDROCK)),
    *_claude_rules("aws", _BEDROCK),
    ProviderRule("aws", "nova-", _explicit(1_000, _BEDROCK, long_ttl=None)),
    ProviderRule("google", r"gemini-2-5", _automatic(2_048, _UNDOCUMENTED, _GEMINI, _GEMINI_READ)),
    ProviderRule(
        "google", r"gemini-(?:[3-9]|\d\d)", _automatic(4_096, _UNDOCUMENTED, _GEMINI, _GEMINI_READ)
    ),
    # Cleared after "a few hours to a few days" without use.
    ProviderRule(
        "deepseek", _ALL, _automatic(64, 2 * _HOURS, "api-docs.deepseek.com/guides/kv_cache")
    ),
    ProviderRule(
        "x-ai",
        "grok-",
        _automatic(0, _UNDOCUMENTED, "docs.x.ai/developers/advanced-api-usage/prompt-caching"),
    ),
    # The minimum is 128 to 1,024 tokens, by model.
    ProviderRule(
        "groq",
        "(?:gpt-oss|kimi-k2)",
        _automatic(1_024, 2 * _HOURS, "console.groq.com/docs/prompt-caching"),
    ),
    ProviderRule(
        "fireworks", _ALL, _automatic(0, _UNDOCUMENTED, "docs.fireworks.ai/guides/prompt-caching")
    ),
    ProviderRule(
        "together",
        _ALL,
        _automatic(0, _UNDOCUMENTED, "docs.together.ai/docs/inference/chat/prompt-caching"),
    ),
    # Hits are likely only for requests with a prompt_cache_key.
    ProviderRule(
        "mistral",
        _ALL,
        _automatic(
            0,
            _UNDOCUMENTED,
            "docs.mistral.ai/inference/conversations/advanced/prompt-caching",
        ),
    ),
    ProviderRule(
        "minimax",
        "minimax-m",
        _automatic(
            512, _UNDOCUMENTED, "platform.minimax.io/docs/api-reference/text-prompt-caching"
        ),
    ),
)
"""The rules of all known providers, in the order in which they are tried."""


def find_cache_rule(provider: str, model: str) -> CacheRule | None:
    """How a provider caches the prompts of a model; None if that is not known.

    Where a provider does not say how long a prefix stays warm, 5 minutes are assumed.

    Examples
    --------
    >>> from ttplan.prices.cache_rules import find_cache_rule
    >>> rule = find_cache_rule("anthropic", "claude-sonnet-4-5-20250929")
    >>> rule.mode, rule.minimum_tokens, rule.ttl_seconds
    ('explicit', 1024, 300)
    >>> find_cache_rule("nobody", "claude-sonnet-4-5") is None
    True
    """
    owner, name = provider_id(provider), plain_name(model).replace(".", "-")
    return next(
        (row.rule for row in RULES if row.provider == owner and re.match(row.models, name)), None
    )
