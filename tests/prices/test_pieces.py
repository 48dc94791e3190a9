"""The pieces of a price cover exactly what its schedule says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttplan.model.pricing import TokenRates
from ttplan.model.projection.full import PricePiece
from ttplan.prices import PriceBook
from ttplan.prices.costing import price_relation
from ttplan.prices.pieces import PriceKey, price_pieces

OWN = """
openai:gpt-4o:
  - {input_per_million: 2, output_per_million: 8, from: 2026-04-01}
  - from: 2026-05-01T12:00:00Z
    input_per_million: 1
    output_per_million: 4
    request_usd: 0.001
    tiers: [{over_input_tokens: 5000, input_per_million: 3, output_per_million: 4}]
    service_tiers:
      batch: {input_per_million: 0.5, output_per_million: 2}
azure@eu:gpt-4o: {input_per_million: 9, output_per_million: 9}
"""
KEYS: tuple[PriceKey, ...] = (
    ("openai", "gpt-4o", None, None),
    ("openai", "gpt-4o", None, "batch"),
    ("openai", "gpt-5.6-sol", None, "flex"),
    ("azure", "gpt-4o", "eu", None),
    ("azure", "gpt-4o", None, None),
    ("deepseek", "deepseek-reasoner", None, None),
    ("google", "gemini-2.5-pro", None, None),
    ("anthropic", "claude-sonnet-4-5", None, "batch"),
    ("perplexity", "sonar", None, None),
    ("nobody", "nothing", None, None),
)
EDGES = (0, 5_000, 5_001, 128_000, 200_000, 200_001, 272_000, 272_001)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    path: Path = tmp_path_factory.mktemp("prices") / "prices.yaml"
    path.write_text(OWN)
    return PriceBook(path)


def covering(pieces: list[PricePiece], at: datetime, tokens: int) -> list[TokenRates]:
    second = at.hour * 3_600 + at.minute * 60 + at.second
    return [
        piece.rates
        for piece in pieces
        if (piece.start is None or piece.start <= at)
        and (piece.end is None or at < piece.end)
        and piece.day_from <= second < piece.day_until
        and piece.over_input_tokens < tokens
        and (piece.up_to_input_tokens is None or tokens <= piece.up_to_input_tokens)
    ]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(KEYS),
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
    | st.sampled_from(
        [
            datetime(2026, 5, 1, 12, tzinfo=UTC) + step
            for step in (timedelta(0), timedelta(microseconds=-1))
        ]
    ),
    st.sampled_from(EDGES) | st.integers(0, 2_000_000),
)
def test_pieces_cover_exactly_what_the_schedule_says(
    book: PriceBook, key: PriceKey, at: datetime, tokens: int
) -> None:
    schedule = book.schedule(*key)
    period = None if schedule is None else schedule.at(at)
    expected = [] if period is None else [period.rates_for(tokens)]
    assert covering(price_pieces([key], book), at, tokens) == expected


def test_pieces_are_those_of_the_price_relation(book: PriceBook) -> None:
    pieces = price_pieces(KEYS, book)
    rows = price_relation(KEYS, book).to_pylist()
    assert [
        (p.provider, p.model, p.endpoint, p.service_tier, p.over_input_tokens, p.day_from)
        for p in pieces
    ] == [
        tuple(
            row[name]
            for name in (
                *("provider", "model", "endpoint"),
                *("service_tier", "over_tokens", "day_from"),
            )
        )
        for row in rows
    ]
    assert [p.rates.input_per_million.scaleb(-6) for p in pieces] == [r["rate_input"] for r in rows]


def test_an_unknown_price_has_no_piece() -> None:
    assert price_pieces([("nobody", "nothing", None, None)], PriceBook()) == []
    own = {"local:ours": TokenRates(input_per_million=Decimal(1), output_per_million=Decimal(2))}
    (piece,) = price_pieces([("local", "ours", None, None)], PriceBook(own))
    assert (piece.over_input_tokens, piece.up_to_input_tokens) == (-1, None)
    assert piece.rates == own["local:ours"]
