"""The exact cost of requests by their tokens and time, as the catalogue calculates it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider, Usage
from hypothesis import given, settings
from hypothesis import strategies as st

from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.money import round_money
from ttplan.model.pricing import TokenRates
from ttplan.prices import PriceBook, catalogue_schedule
from ttplan.prices.costing import expected_costs, filled_columns, price_keys, price_relation

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROW: dict[str, Any] = {
    "ts": AT,
    "provider": "openai",
    "model": "gpt-4o",
    "input_tokens": 1000,
    "output_tokens": 100,
    "cached_tokens": 0,
    "cached": False,
    "status": 200,
}
BOOK = PriceBook()
SEARCHES = '{"server_tool_use": {"web_search_requests": %s}}'


@cache
def instance() -> duckdb.DuckDBPyConnection:
    """One DuckDB for all tests: starting it takes longer than most of their queries."""
    return duckdb.connect()


def expected(rows: list[dict[str, Any]], book: PriceBook = BOOK) -> list[Decimal | None]:
    """What each row cost."""
    connection = instance().cursor()
    connection.execute("SET TimeZone = 'UTC'")
    numbered = [ROW | row | {"id": f"{i:09}"} for i, row in enumerate(rows)]
    connection.register("requests", pa.Table.from_pylist(numbered, schema=REQUEST_SCHEMA))
    columns = filled_columns(connection, "requests", REQUEST_SCHEMA.names)
    connection.register("prices", price_relation(price_keys(connection, "requests", columns), book))
    query = expected_costs("requests", "prices", columns, "r.id")
    rows_by_id = connection.sql(f"SELECT id, expected_usd FROM ({query}) ORDER BY id").fetchall()
    assert [row[0] for row in rows_by_id] == [f"{i:09}" for i in range(len(rows))]
    return [row[1] for row in rows_by_id]


def expected_cost(row: dict[str, Any], book: PriceBook = BOOK) -> Decimal | None:
    return expected([row], book)[0]


def priced_models() -> Iterator[tuple[Provider, ModelInfo]]:
    snapshot = get_snapshot()
    for provider in snapshot.providers:
        for model in provider.models:
            try:
                listed = snapshot.find_provider_model(model.id, None, provider.id, None)[1]
            except LookupError:
                continue
            if listed is model and catalogue_schedule(provider.id, model.id) is not None:
                yield provider, model


def test_every_model_costs_what_the_catalogue_calculates() -> None:
    draw = random.Random(7)
    rows: list[dict[str, Any]] = []
    answers: list[Decimal] = []
    for provider, model in priced_models():
        for tier, context in (
            (None, None),
            ("batch", {"processing": "batch"}),
            ("flex", {"service_tier": "flex"}),
        ):
            schedule = catalogue_schedule(provider.id, model.id, tier)
            at = AT + timedelta(minutes=draw.randrange(-900_000, 700_000))
            if schedule is None or schedule.at(at) is None:
                continue
            tokens = draw.choice(
                [0, 1, 5_000, 128_000, 128_001, 200_000, 200_001, 272_001, 900_000]
            )
            cached = draw.randrange(tokens + 1)
            written = draw.randrange(tokens - cached + 1)
            rows.append(
                {
                    "ts": at,
                    "provider": provider.id,
                    "model": model.id,
                    "service_tier": tier,
                    "input_tokens": tokens,
                    "cached_tokens": cached,
                    "cache_write_tokens": written,
                    "output_tokens": draw.randrange(10_000),
                    "reasoning_tokens": 0,
                    "provider_usage": SEARCHES % (searches := draw.randrange(4)),
                }
            )
            usage = Usage(
                web_searches=searches,
                input_tokens=tokens,
                cache_read_tokens=cached,
                cache_write_tokens=written,
                output_tokens=rows[-1]["output_tokens"],
            )
            answers.append(
                model.calc_price(
                    usage, provider, genai_request_timestamp=at, price_context=context
                ).total_price
            )
    assert len(rows) > 2_000
    assert sum(row["service_tier"] is not None for row in rows) > 30
    # Some catalogue prices are quotients with more digits than a price per million has here.
    off = [abs((cost or 0) - answer) for cost, answer in zip(expected(rows), answers, strict=True)]
    assert max(off) < Decimal("1e-8")
    assert sum(difference > Decimal("1e-12") for difference in off) < len(off) / 100


@pytest.mark.parametrize(
    ("row", "usd"),
    [
        ({}, "0.0035"),  # 1000 * 2.5 + 100 * 10, per million
        ({"cached_tokens": 400}, "0.003"),  # 400 of them at 1.25
        ({"cached_tokens": 5000}, "0.00225"),  # not more than there are
        ({"status": 500, "output_tokens": 0}, "0"),
        ({"status": 499}, "0.0035"),  # it failed, but had answered
        ({"cached": True}, "0"),
        ({"model": "no-such-model"}, None),
        ({"provider": "nobody"}, None),
        ({"service_tier": "default"}, "0.0035"),
        ({"service_tier": "no-such-tier"}, None),
        ({"provider": "azure", "service_tier": "batch"}, None),
        ({"model": "o3", "reasoning_tokens": 60}, "0.0028"),  # in the output, at its rate
        ({"model": "gpt-audio", "input_audio_tokens": 500, "output_audio_tokens": 100}, "0.02365"),
        (
            {"provider": "anthropic", "model": "claude-haiku-4-5", "cache_write_tokens": 800},
            "0.0017",
        ),
        ({"provider": "perplexity", "model": "sonar"}, "0.0131"),  # 12 USD per thousand requests
    ],
)
def test_a_request_costs(row: dict[str, Any], usd: str | None) -> None:
    assert expected_cost(row) == (None if usd is None else Decimal(usd))


def test_one_hour_cache_writes_are_priced_by_provider_usage() -> None:
    row = {"provider": "anthropic", "model": "claude-haiku-4-5", "cache_write_tokens": 800}
    usage = '{"cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":500}}'
    # 200 fresh at 1, 300 at 1.25, 500 at 2; 100 out at 5.
    assert expected_cost(row | {"provider_usage": usage}) == Decimal("0.002075")
    assert expected_cost(
        row | {"provider_usage": '{"cache_creation":{"ephemeral_1h_input_tokens":"many"}}'}
    ) == expected_cost(row)
    assert expected_cost(row | {"provider_usage": usage.replace("500", "900")}) == Decimal("0.0023")


@pytest.mark.parametrize(
    ("usage", "searches"),
    [
        (SEARCHES % 3, 3),
        ('{"prompt_tokens_details": {"web_search_requests": 2}}', 2),
        ('{"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 9}}', 2),
        ('{"num_search_queries": 4}', 4),
        # A logger may copy the number: it counts once.
        (SEARCHES[:-1] % 3 + ', "prompt_tokens_details": {"web_search_requests": 3}}', 3),
        ('{"server_tool_use": null, "prompt_tokens_details": {"web_search_requests": 1}}', 1),
        (SEARCHES % 0, 0),
        (SEARCHES % -5, 0),
        (SEARCHES % '"many"', 0),
        (SEARCHES % "null", 0),
        (SEARCHES % 10**30, 0),
        (SEARCHES % 10**9, 999_999),
        ('{"search_context": 5}', 0),
        ("{}", 0),
        (None, 0),
    ],
)
def test_web_searches_of_the_usage_are_charged(usage: str | None, searches: int) -> None:
    row = {"provider": "anthropic", "model": "claude-haiku-4-5", "provider_usage": usage}
    assert expected_cost(row) == Decimal("0.0015") + searches * Decimal("0.01")


def test_searches_cost_what_ones_own_prices_say(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        "openai:gpt-4o: {input_per_million: 0, output_per_million: 0, web_search_usd: 0.025}\n"
        "local:ours: {input_per_million: 0, output_per_million: 0}\n"
    )
    book, usage = PriceBook(path), {"provider_usage": SEARCHES % 2}
    assert expected_cost(usage, book) == Decimal("0.05")
    assert expected_cost(usage | {"cached": True}, book) == 0
    assert expected_cost(usage | {"status": 500, "output_tokens": 0}, book) == 0
    assert expected_cost(usage | {"provider": "local", "model": "ours"}, book) == 0


def test_rates_without_a_search_fee_keep_their_bytes() -> None:
    rates = TokenRates(input_per_million=Decimal(1), output_per_million=Decimal(2))
    assert "web_search_usd" not in rates.model_dump()
    assert list(rates.model_dump()) == [n for n in TokenRates.model_fields if n != "web_search_usd"]
    charging = rates.model_copy(update={"web_search_usd": Decimal("0.01")})
    assert charging.beyond_flat == ("web_search_usd",)
    assert TokenRates.model_validate_json(charging.model_dump_json()) == charging


def test_a_long_prompt_costs_its_tier_for_all_of_its_tokens() -> None:
    row = {"provider": "google", "model": "gemini-2.5-pro", "output_tokens": 0}
    assert expected([row | {"input_tokens": n} for n in (200_000, 200_001)]) == [
        Decimal("0.25"),
        Decimal("0.5000025"),
    ]


def test_an_hour_has_its_price() -> None:
    row = {
        "provider": "deepseek",
        "model": "deepseek-reasoner",
        "input_tokens": 10**6,
        "output_tokens": 0,
    }
    day = datetime(2026, 3, 1, tzinfo=UTC)
    moments = [
        day.replace(hour=0, minute=29, second=59, microsecond=999_999),
        day.replace(minute=30),
        day.replace(hour=16, minute=30),
    ]
    assert expected([row | {"ts": at} for at in moments]) == [
        Decimal("0.135"),
        Decimal("0.55"),
        Decimal("0.135"),
    ]


OWN = """
openai:gpt-4o:
  - {input_per_million: 2, output_per_million: 8, from: 2026-04-01}
  - from: 2026-05-01T12:00:00Z
    input_per_million: 1
    output_per_million: 4
    cached_input_per_million: 0
    request_usd: 0.001
    tiers: [{over_input_tokens: 5000, input_per_million: 3, output_per_million: 4}]
    service_tiers:
      batch: {input_per_million: 0.5, output_per_million: 2}
azure@eu:gpt-4o: {input_per_million: 9, output_per_million: 9}
local:ours: {input_per_million: 0, output_per_million: 1, reasoning_per_million: 2}
"""


@pytest.mark.parametrize(
    ("row", "usd"),
    [
        ({"ts": AT - timedelta(days=60)}, "0.0035"),  # before the user's own price: the catalogue's
        ({"ts": AT - timedelta(microseconds=1)}, "0.0028"),
        ({}, "0.0024"),
        ({"cached_tokens": 1000}, "0.0014"),
        ({"input_tokens": 5000}, "0.0064"),
        ({"input_tokens": 5001}, "0.015403"),  # the tier has no fee of its own
        ({"service_tier": "Batch"}, "0.0007"),
        ({"service_tier": "batch", "ts": AT - timedelta(days=1)}, None),
        ({"provider": "azure"}, "0.0035"),
        ({"provider": "azure", "endpoint": "us"}, "0.0035"),
        ({"provider": "azure", "endpoint": "eu"}, "0.0099"),
        ({"provider": "local", "model": "ours", "reasoning_tokens": 40}, "0.00014"),
    ],
)
def test_ones_own_prices_hold_where_they_say(
    tmp_path: Path, row: dict[str, Any], usd: str | None
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(OWN)
    assert expected_cost(row, PriceBook(path)) == (None if usd is None else Decimal(usd))


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(*[st.decimals(0, 10**6, places=9)] * 10),
    st.integers(0, 10**12 - 1),
    st.lists(st.integers(0, 10**12 - 1), min_size=4, max_size=4),
    st.integers(0, 10**9),
    st.lists(st.integers(0, 10**9), min_size=3, max_size=3),
)
def test_any_tokens_at_any_rates_are_counted_once_and_exactly(
    rates: tuple[Decimal, ...], into: int, ins: list[int], out: int, outs: list[int]
) -> None:
    names = [name for name in TokenRates.model_fields if name.endswith("_per_million")]
    given = dict(zip(names, rates, strict=True))
    kinds = ["cached_tokens", "cache_write_tokens", "input_audio_tokens", "input_image_tokens"]
    after = ["reasoning_tokens", "output_audio_tokens", "output_image_tokens"]
    row = (
        ROW
        | {"input_tokens": into, "output_tokens": out}
        | dict(zip(kinds, ins, strict=True))
        | dict(zip(after, outs, strict=True))
    )
    book = PriceBook({"openai:gpt-4o": TokenRates.model_validate(given)})
    total, rest = Decimal(0), into
    of = ["cached_input", "cache_write", "input_audio", "input_image"]
    for rate, count in zip(of, ins, strict=True):
        taken = min(count, rest)
        total, rest = total + taken * given[f"{rate}_per_million"], rest - taken
    total, rest = total + rest * given["input_per_million"], out
    for rate, count in zip(["reasoning", "output_audio", "output_image"], outs, strict=True):
        taken = min(count, rest)
        total, rest = total + taken * given[f"{rate}_per_million"], rest - taken
    total += rest * given["output_per_million"]
    assert expected_cost(row, book) == round_money(total.scaleb(-6))
