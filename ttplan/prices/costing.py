"""What each request of a log cost by its tokens and the price of its moment: one exact SQL expression for all rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from ttplan.model.pricing import TokenRates
from ttplan.model.request import MAX_TOKENS
from ttplan.prices.book import PriceBook
from ttplan.prices.schedule import DAY, Period

KEY = ("provider", "model", "endpoint", "service_tier")
"""The columns that decide, beside the moment and the prompt's length, which price a request has."""
FAILED = 400
"""The lowest status of a call that failed."""
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
# A price per million has 9 digits, so a price per token has 15; tokens times price then have 31 digits, 15 after the point.
_RATE = pa.decimal128(19, 15)
RATES = (
    "input",
    "cached",
    "write",
    "write_1h",
    "in_audio",
    "in_image",
    "output",
    "reasoning",
    "out_audio",
    "out_image",
)
"""The rates of a price, USD per token, as the price relation names them: `rate_…`."""
PRICES = pa.schema(
    [
        *((name, pa.string()) for name in KEY),
        ("piece", pa.int32()),
        ("base_piece", pa.int32()),
        ("starts", pa.timestamp("us", tz="UTC")),
        ("ends", pa.timestamp("us", tz="UTC")),
        ("day_from", pa.int32()),
        ("day_until", pa.int32()),
        ("over_tokens", pa.int64()),
        ("up_to_tokens", pa.int64()),
        *((f"rate_{name}", _RATE) for name in RATES),
        ("fee", pa.decimal128(38, 12)),
    ]
)
"""The price relation: each row one price, for what moment of which day and for how long a prompt. No two hold for one request."""


def price_relation(
    keys: Iterable[tuple[str, str, str | None, str | None]], book: PriceBook
) -> pa.Table:
    """All prices of some distinct `KEY`s, as `PRICES`. A key without a known price has no row."""
    rows: list[dict[str, Any]] = []
    for key in keys:
        found = book.schedule(*key)
        for period in () if found is None else found.periods:
            rows.extend(price_rows(dict(zip(KEY, key, strict=True)), period, len(rows)))
    return pa.Table.from_pylist(rows, schema=PRICES)


def price_keys(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Collection[str]
) -> list[Any]:
    """The distinct `KEY`s of a relation `rows` (SQL) that has those columns; nothing for those that it lacks."""
    chosen = ", ".join(name if name in columns else f"NULL AS {name}" for name in KEY)
    return connection.sql(f"SELECT DISTINCT {chosen} FROM {rows}").fetchall()  # noqa: S608


def filled_columns(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Collection[str]
) -> frozenset[str]:
    """Those of `columns` that the relation `rows` has values in, of the optional ones; all others are in anyway.

    A column without a value costs nothing then where rows are priced.
    """
    optional = [name for name in columns if name in _OPTIONAL]
    if not optional:
        return frozenset(columns)
    counts = ", ".join(f"count({name})" for name in optional)
    (found,) = connection.sql(f"SELECT {counts} FROM {rows}").fetchall()  # noqa: S608
    return frozenset(columns) - {
        name for name, count in zip(optional, found, strict=True) if not count
    }


def expected_costs(rows: str, prices: str, columns: Collection[str], kept: str) -> str:
    """SQL: what of `rows` (as `r`) is `kept`; `expected_usd`, what a request cost, null for no known price; `piece`, its price.

    `rows` and `prices` (a `price_relation` of its keys) are names of relations; `columns` are those of `rows` that are `filled_columns`.
    Exact, half away from zero to 12 digits: every kind of token at its own rate, at the prompt's tier, and the request's fee.
    Tokens of more kinds than the input (output) has count as the first of cached, written, audio and image (reasoning, audio,
    image). A failed call without output costs nothing, and so does an answer from the gateway's own cache; `full_usd` is what
    they would cost otherwise.
    """
    free = " OR ".join(_free(columns)) or "FALSE"
    split = token_parts(columns)
    # One kind after the other in layers, since each takes from what those before it left.
    names = ", ".join(f"{tokens} AS n_{rate}" for rate, tokens in split.items())
    total = " + ".join(f"n_{rate}::DECIMAL(12, 0) * p.rate_{rate}" for rate in split)
    return f"""
        SELECT {kept}, p.piece, p.base_piece,
            ({total} + p.fee)::DECIMAL(38, 12) AS full_usd,
            CASE WHEN ({free}) AND p.piece IS NOT NULL THEN 0::DECIMAL(38, 12) ELSE full_usd END AS expected_usd
        FROM (SELECT *, {names} FROM {rows} r) r LEFT JOIN {prices} p ON {price_condition(columns)}
    """  # noqa: S608


def token_parts(columns: Collection[str]) -> dict[str, str]:
    """The kinds of tokens that a request is made of, by the rate that they cost: how many, as SQL.

    Together they are its input and its output tokens. Each may use those before it, as `n_` and their rate.
    """
    found: dict[str, str] = {}
    for total, kinds, other in (
        ("input_tokens", _INPUT, "input"),
        ("output_tokens", _OUTPUT, "output"),
    ):
        rest = f"r.{total}"
        for needs, count, rate in kinds:
            if rate not in found and set(needs) <= set(columns):
                found[rate] = f"least({count}, {rest})"
                rest += f" - n_{rate}"
        found[other] = rest
    return found


def price_condition(columns: Collection[str], hours: bool = True) -> str:
    """SQL: whether price `p` is the one of request `r`."""
    same = [
        f"r.{n} IS NOT DISTINCT FROM p.{n}" if n in columns else f"p.{n} IS NULL" for n in KEY[2:]
    ]
    second = "epoch_us(r.ts) // 1000000 % 86400"
    return " AND ".join(
        [
            *(f"r.{name} = p.{name}" for name in KEY[:2]),
            *same,
            "r.ts >= p.starts AND r.ts < p.ends",
            "r.input_tokens > p.over_tokens AND r.input_tokens <= p.up_to_tokens",
            *([f"{second} >= p.day_from AND {second} < p.day_until"] if hours else []),
        ]
    )


# Anthropic counts writes that last an hour apart, in its own usage only.
_LASTING = (
    "CASE WHEN contains(r.provider_usage, 'ephemeral_1h_input_tokens') THEN least(coalesce(TRY_CAST(json_extract_string("
    "r.provider_usage, '$.cache_creation.ephemeral_1h_input_tokens') AS BIGINT), 0), coalesce(r.cache_write_tokens, 0)) "
    "ELSE 0 END"
)
# Kinds of tokens: the columns that tell how many, their number, the rate that they cost.
_INPUT = (
    (("cached_tokens",), "r.cached_tokens", "cached"),
    (("cache_write_tokens", "provider_usage"), _LASTING, "write_1h"),
    (
        ("cache_write_tokens", "provider_usage"),
        "coalesce(r.cache_write_tokens, 0) - n_write_1h",
        "write",
    ),
    (("cache_write_tokens",), "coalesce(r.cache_write_tokens, 0)", "write"),
    (("input_audio_tokens",), "coalesce(r.input_audio_tokens, 0)", "in_audio"),
    (("input_image_tokens",), "coalesce(r.input_image_tokens, 0)", "in_image"),
)
_OUTPUT = (
    (("reasoning_tokens",), "coalesce(r.reasoning_tokens, 0)", "reasoning"),
    (("output_audio_tokens",), "coalesce(r.output_audio_tokens, 0)", "out_audio"),
    (("output_image_tokens",), "coalesce(r.output_image_tokens, 0)", "out_image"),
)
_OPTIONAL = frozenset(name for needs, _, _ in (*_INPUT, *_OUTPUT) for name in needs) | {
    "endpoint",
    "service_tier",
}


def _free(columns: Collection[str]) -> Iterator[str]:
    if "cached" in columns:
        yield "r.cached"
    if "status" in columns:
        yield f"(r.status >= {FAILED} AND r.output_tokens = 0)"


def price_rows(key: dict[str, str | None], period: Period, first: int) -> Iterator[dict[str, Any]]:
    """The rows of `PRICES` of one period: one for each tier, numbered from `first`."""
    overs = [-1, *(tier.over_input_tokens for tier in period.tiers)]
    levels = [period.rates, *(tier.rates for tier in period.tiers)]
    for offset, (over, up_to, rates) in enumerate(
        zip(overs, [*overs[1:], MAX_TOKENS], levels, strict=True)
    ):
        yield key | {
            "piece": first + offset,
            "base_piece": first,
            "starts": period.start or _FIRST,
            "ends": period.end or _LAST,
            "day_from": period.day_from,
            "day_until": period.day_until,
            "over_tokens": over,
            "up_to_tokens": up_to,
            "fee": rates.request_usd or Decimal(0),
            **{f"rate_{name}": rate.scaleb(-6) for name, rate in _per_million(rates).items()},
        }


def _per_million(rates: TokenRates) -> dict[str, Decimal]:
    def own(rate: Decimal | None, otherwise: Decimal) -> Decimal:
        return otherwise if rate is None else rate

    into, out = rates.input_per_million, rates.output_per_million
    return {
        "input": into,
        "cached": rates.cached_rate,
        "write": rates.write_rate,
        "write_1h": own(rates.cache_write_1h_per_million, rates.write_rate),
        "in_audio": own(rates.input_audio_per_million, into),
        "in_image": own(rates.input_image_per_million, into),
        "output": out,
        "reasoning": own(rates.reasoning_per_million, out),
        "out_audio": own(rates.output_audio_per_million, out),
        "out_image": own(rates.output_image_per_million, out),
    }


def depends_on_hour(prices: pa.Table) -> bool:
    """Whether any price holds for a part of the day only."""
    return any(
        row["day_until"] - row["day_from"] != DAY
        for row in prices.select(["day_from", "day_until"]).to_pylist()
    )
