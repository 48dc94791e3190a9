"""Usage objects: any spelling of a count is read, and parts end up inside of their wholes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttplan.prices.usage.parse import parse_usage
from ttplan.prices.usage.reconcile import CACHED, REASONING, WRITTEN, Parts, reconcile
from ttplan.prices.usage.spellings import COUNTS, count_pattern

SPELLINGS = [
    (name, path)
    for name, spellings in COUNTS.items()
    for path in f"{spellings.inside} {spellings.beside}".split()
]
NUMBERS = st.integers(1, 10**9)


def nested(path: str, value: Any) -> Any:
    """An object with a value at a path."""
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


def camel(path: str) -> str:
    """A path in camel case."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), path)


SHAPES: dict[str, Callable[[str, Any], Any]] = {
    "nested": nested,
    "camel": lambda path, value: nested(camel(path), value),
    "one key": lambda path, value: {path: value},
    "in usage": lambda path, value: {"id": "x", "usage": nested(path, value)},
    "in a response": lambda path, value: {"response": {"usage": nested(camel(path), value)}},
    "in usage_metadata": lambda path, value: {"usage_metadata": nested(path, value)},
    "in usageMetadata": lambda path, value: {"usageMetadata": nested(camel(path), value)},
    "an attribute": lambda path, value: {f"gen_ai.usage.{path}": value},
    "text inside": lambda path, value: {"usage": json.dumps(nested(path, value))},
}
VALUES = {"number": int, "text": str, "float": float}


@settings(max_examples=150)
@given(st.sampled_from(SPELLINGS), st.sampled_from([*SHAPES]), st.sampled_from([*VALUES]), NUMBERS)
def test_every_spelling_is_read_in_any_shape(
    spelling: tuple[str, str], shape: str, kind: str, number: int
) -> None:
    name, path = spelling
    document = SHAPES[shape](path, VALUES[kind](number))
    for usage in (parse_usage(document), parse_usage(json.dumps(document))):
        assert usage.counts == {name: number}
    assert parse_usage(json.dumps(json.dumps(document))).counts == {name: number}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, {}),
        ("", {}),
        ("not json", {}),
        ('"text"', {}),
        ("[1]", {}),
        ({"usage": None, "input_tokens": None}, {}),
        ({"input_tokens": True, "output_tokens": "", "total_tokens": []}, {}),
        (
            {"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 9},
            {"cached": 9},
        ),
        (
            {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, None, 7]},
            {"in_audio": 4},
        ),
        (
            {"cacheDetails": [{"ttl": "1h", "inputTokens": 5}, {"ttl": "5m", "inputTokens": 2}]},
            {"write_1h": 5, "write_5m": 2},
        ),
        ({"anthropic": {"usage": {"input_tokens": 3}}}, {"uncached": 3}),
    ],
)
def test_what_is_not_a_count_is_ignored(usage: Any, counts: dict[str, int]) -> None:
    assert parse_usage(usage).counts == counts


@pytest.mark.parametrize("value", [-1, 1.5, "many", 10**12, "-0.5"])
def test_a_count_that_is_none_is_named(value: Any) -> None:
    usage = parse_usage({"prompt_tokens": 1, "completion_tokens": value})
    assert (usage.counts, usage.invalid) == ({"input": 1}, "completion_tokens")


@pytest.mark.parametrize(
    ("usage", "written", "beside"),
    [
        ({"cache_creation_input_tokens": 951, "ephemeral_5m_input_tokens": 951}, 951, True),
        ({"input_cache_creation_1h": 3, "input_cache_creation_5m": 4}, 7, False),
        ({"input_cache_creation": 0, "input_ephemeral_1h_input_tokens": 1_000}, 1_000, False),
        ({"prompt_tokens": 9, "cache_creation_input_tokens": 5}, 5, False),
        ({"input_tokens": 9, "cache_read_input_tokens": 5}, None, True),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 5}}, None, False),
    ],
)
def test_writes_add_up_and_spellings_tell_where(
    usage: Any, written: int | None, beside: bool
) -> None:
    counted = parse_usage(usage)
    assert (counted.written, counted.input_beside) == (written, beside)


def test_engines_without_json_find_the_same_counts() -> None:
    for name in ("write_1h", "searches"):
        pattern = re.compile(count_pattern(name))
        for _, path in (spelling for spelling in SPELLINGS if spelling[0] == name):
            if not path.startswith("cache_details"):
                for spelt in (path, camel(path)):
                    found = pattern.search(json.dumps(nested(spelt, 12)))
                    assert found is not None, spelt
                    assert found[1] == "12"
        assert pattern.search('{"cached_tokens": 5, "prompt_tokens": 3}') is None


SIZES = st.integers(0, 50)


@settings(max_examples=150)
@given(
    SIZES,
    SIZES,
    SIZES,
    SIZES,
    SIZES,
    st.sampled_from([0, 3, 8, 11]),
    st.sampled_from([0, 3, 8, 11]),
)
def test_a_full_total_gives_the_whole_counts(
    fresh: int, cached: int, written: int, visible: int, reasoning: int, sent: int, documented: int
) -> None:
    whole, answer = fresh + cached + written, visible + reasoning
    parts = Parts(
        fresh if sent & CACHED else whole,
        visible if sent & REASONING else answer,
        cached,
        written,
        reasoning=reasoning,
        total=whole + answer,
    )
    reading = reconcile(parts, documented)
    assert reading.is_explained
    assert reading.input_tokens + reading.output_tokens == (
        parts.total or parts.input + parts.output
    )
    assert reading.input_tokens >= cached + written
    assert reading.output_tokens >= reasoning
    # What is read once is read again as it is.
    again = reconcile(parts._replace(input=reading.input_tokens, output=reading.output_tokens))
    assert again[:3] == (reading.input_tokens, reading.output_tokens, ())


@given(SIZES, SIZES, SIZES, SIZES, SIZES, st.none() | st.integers(1, 300))
def test_parts_never_exceed_their_whole(
    stated: int, cached: int, written: int, output: int, reasoning: int, total: int | None
) -> None:
    parts = Parts(stated, output, cached, written, reasoning=reasoning, total=total)
    reading = reconcile(parts)
    assert reading.input_tokens >= max(stated, cached + written)
    assert reading.output_tokens >= max(output, reasoning)
    assert reading.input_tokens <= stated + cached + written
    assert reading.output_tokens <= output + reasoning


@pytest.mark.parametrize(
    ("parts", "documented", "expected"),
    [
        # The input alone may hold the cache while the total only adds two numbers.
        (Parts(5, 400, 128_955, 1_253, total=405), 0, (130_213, 400)),
        (Parts(1_200, 90, 30_000, total=1_290), 0, (31_200, 90)),
        (Parts(22_118, 1_970, reasoning=956, total=24_088), 11, (22_118, 1_970)),
        (Parts(361, 53, reasoning=900, total=1_314), 0, (361, 953)),
        (Parts(130_213, 400, 128_955, 1_253, total=130_613), 11, (130_213, 400)),
        (Parts(1_200, 90, 1_000, total=1_290, uncached=1_200), 0, (2_200, 90)),
        (Parts(2_200, 90, 1_000, total=2_290, uncached=1_200), CACHED | WRITTEN, (2_200, 90)),
        (Parts(500, 80, tool=700, reasoning=20, total=1_300), 12, (1_200, 100)),
    ],
)
def test_a_rows_own_sums_decide(parts: Parts, documented: int, expected: tuple[int, int]) -> None:
    reading = reconcile(parts, documented)
    assert (reading.input_tokens, reading.output_tokens) == expected
    assert reading.is_explained
