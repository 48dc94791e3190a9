"""The expected cost of each request from its tokens and the price at its time, in exact SQL."""

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
from ttplan.prices.schedule import Period
from ttplan.prices.usage.spellings import count_pattern

KEY = ("provider", "model", "endpoint", "service_tier")
"""The columns that, with the time and the prompt length, determine the price of a request."""
FAILED = 400
"""The lowest status of a call that failed."""
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
# A price per million has 9 digits, so a price per token has 15; tokens times price then have 31
# digits, 15 after the point.
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
RANGES_AND_RATES = (
    ("starts", pa.timestamp("us", tz="UTC")),
    ("ends", pa.timestamp("us", tz="UTC")),
    ("day_from", pa.int32()),
    ("day_until", pa.int32()),
    ("over_tokens", pa.int64()),
    ("up_to_tokens", pa.int64()),
    *((f"rate_{name}", _RATE) for name in RATES),
)
"""The times, hours and prompt lengths that a price is for, and its rates."""
PRICES = pa.schema(
    [
        *((name, pa.string()) for name in KEY),
        ("piece", pa.int32()),
        ("base_piece", pa.int32()),
        *RANGES_AND_RATES,
        ("fee", pa.decimal128(38, 12)),
        ("search_fee", pa.decimal128(24, 12)),
    ]
)
"""The price relation: each row is a price for a range of times and prompt lengths. At most one
applies to a request."""


def price_relation(
    keys: Iterable[tuple[str, str, str | None, str | None]], book: PriceBook
) -> pa.Table:
    """All prices of distinct `KEY`s, as `PRICES`. A key without a known price has no row."""
    rows: list[dict[str, Any]] = []
    for key in keys:
        schedule = book.schedule(*key)
        for period in () if schedule is None else schedule.periods:
            rows.extend(price_rows(dict(zip(KEY, key, strict=True)), period, len(rows)))
    return pa.Table.from_pylist(rows, schema=PRICES)


def price_keys(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Collection[str]
) -> list[Any]:
    """The distinct `KEY`s of a relation `rows` (SQL); missing columns are null."""
    selected = ", ".join(name if name in columns else f"NULL AS {name}" for name in KEY)
    return connection.sql(f"SELECT DISTINCT {selected} FROM {rows}").fetchall()  # noqa: S608


def filled_columns(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Collection[str]
) -> frozenset[str]:
    """The `columns` of the relation `rows`, without optional ones that have no value.

    This keeps the SQL of prices small.
    """
    optional = [name for name in columns if name in _OPTIONAL]
    if not optional:
        return frozenset(columns)
    counts = ", ".join(f"count({name})" for name in optional)
    (value_counts,) = connection.sql(f"SELECT {counts} FROM {rows}").fetchall()  # noqa: S608
    return frozenset(columns) - {
        name for name, count in zip(optional, value_counts, strict=True) if not count
    }


def expected_costs(rows: str, prices: str, columns: Collection[str], kept: str) -> str:
    """SQL: the `kept` columns of `rows` (as `r`), `expected_usd` (null if no price is known) and
    the number `piece` of the price.

    `rows` and `prices` (a `price_relation` of its keys) are names of relations; `columns` are the
    `filled_columns` of `rows`. The result is exact, rounded half away from zero to 12 digits: each
    kind of token at its own rate and the tier of the prompt, plus the fees of the request and of
    each web search. If the kinds add up to more than the input
    (output), tokens count in the order cached, written, audio, image (reasoning, audio, image). A
    failed call without output and a response from the gateway's own cache cost nothing; `full_usd`
    is what they would cost otherwise.
    """
    free = " OR ".join(_free(columns)) or "FALSE"
    split = token_parts(columns)
    # Lateral columns: each kind takes from what the earlier kinds left.
    counts = split | {"searches": search_count(columns)}
    names = ", ".join(f"{count} AS n_{name}" for name, count in counts.items())
    total = " + ".join(
        [
            *(f"n_{rate}::DECIMAL(12, 0) * p.rate_{rate}" for rate in split),
            "p.fee",
            "n_searches::DECIMAL(6, 0) * p.search_fee",
        ]
    )
    return f"""
        SELECT {kept}, p.piece, p.base_piece,
            ({total})::DECIMAL(38, 12) AS full_usd,
            CASE WHEN ({free}) AND p.piece IS NOT NULL THEN 0::DECIMAL(38, 12) ELSE full_usd END
                AS expected_usd
        FROM (SELECT *, {names} FROM {rows} r) r LEFT JOIN {prices} p ON {price_condition(columns)}
    """  # noqa: S608


def token_parts(columns: Collection[str]) -> dict[str, str]:
    """SQL of the number of tokens by rate. Together they are the input and the output tokens.

    Each may use the earlier ones, as `n_` and the rate.
    """
    counts: dict[str, str] = {}
    for total, kinds, plain in (
        ("input_tokens", _INPUT, "input"),
        ("output_tokens", _OUTPUT, "output"),
    ):
        rest = f"r.{total}"
        for needs, count, rate in kinds:
            if not set(needs) <= set(columns):
                continue
            if rate == "write" and {"cache_write_1h_tokens", "provider_usage"} & set(columns):
                long = _counted("cache_write_1h_tokens", "write_1h", columns)
                counts["write_1h"] = f"least({long}, {count}, {rest})"
                rest += " - n_write_1h"
                count += " - n_write_1h"
            counts[rate] = f"least({count}, {rest})"
            rest += f" - n_{rate}"
        counts[plain] = rest
    return counts


def search_count(columns: Collection[str]) -> str:
    """SQL of the number of web searches of request `r`, 0 if the log has none."""
    return f"greatest(least({_counted('web_searches', 'searches', columns)}, {_MOST_SEARCHES}), 0)"


def _counted(column: str, name: str, columns: Collection[str]) -> str:
    """SQL of a count of request `r`: its column, else what its usage object says, else 0."""
    counts = [f"r.{column}"] if column in columns else []
    if "provider_usage" in columns:
        found = f"regexp_extract(r.provider_usage, '{count_pattern(name)}', 1)"
        counts.append(f"TRY_CAST({found} AS BIGINT)")
    return f"coalesce({', '.join([*counts, '0'])})" if counts else "0"


def price_condition(columns: Collection[str], hours: bool = True) -> str:
    """SQL: whether price `p` applies to request `r`."""
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


_MOST_SEARCHES = 999_999
# Kinds of tokens: the columns that tell how many, their number, the rate that they cost.
_INPUT = (
    (("cached_tokens",), "r.cached_tokens", "cached"),
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
    *("endpoint", "service_tier", "provider_usage", "cache_write_1h_tokens", "web_searches")
}


def _free(columns: Collection[str]) -> Iterator[str]:
    if "cached" in columns:
        yield "r.cached"
    if "status" in columns:
        yield f"(r.status >= {FAILED} AND r.output_tokens = 0)"


def price_rows(key: dict[str, str | None], period: Period, first: int) -> Iterator[dict[str, Any]]:
    """The rows of `PRICES` of one period: one for each tier, numbered from `first`."""
    for offset, (over, up_to, rates) in enumerate(period.levels()):
        yield key | {
            "piece": first + offset,
            "base_piece": first,
            "starts": period.start or _FIRST,
            "ends": period.end or _LAST,
            "day_from": period.day_from,
            "day_until": period.day_until,
            "over_tokens": over,
            "up_to_tokens": MAX_TOKENS if up_to is None else up_to,
            "fee": rates.request_usd or Decimal(0),
            "search_fee": rates.web_search_usd or Decimal(0),
            **{f"rate_{name}": rate for name, rate in rates_per_token(rates).items()},
        }


def rates_per_token(rates: TokenRates) -> dict[str, Decimal]:
    """The rate of each of `RATES`, USD per token."""
    return {name: rate.scaleb(-6) for name, rate in _per_million(rates).items()}


def _per_million(rates: TokenRates) -> dict[str, Decimal]:
    def own(rate: Decimal | None, fallback: Decimal) -> Decimal:
        return fallback if rate is None else rate

    plain_input, plain_output = rates.input_per_million, rates.output_per_million
    return {
        "input": plain_input,
        "cached": rates.cached_rate,
        "write": rates.write_rate,
        "write_1h": own(rates.cache_write_1h_per_million, rates.write_rate),
        "in_audio": own(rates.input_audio_per_million, plain_input),
        "in_image": own(rates.input_image_per_million, plain_input),
        "output": plain_output,
        "reasoning": own(rates.reasoning_per_million, plain_output),
        "out_audio": own(rates.output_audio_per_million, plain_output),
        "out_image": own(rates.output_image_per_million, plain_output),
    }
