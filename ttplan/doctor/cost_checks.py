"""Compares each row with its price: its expected cost, and mistakes that explain the recorded
one."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import duckdb

from ttplan.prices.book import PriceBook
from ttplan.prices.costing import (
    FAILED,
    expected_costs,
    filled_columns,
    price_keys,
    price_relation,
    token_parts,
)

_MONEY = "DECIMAL(38, 12)"
CHECKED_COLUMNS = {
    "id": "VARCHAR",
    "source_id": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "provider": "VARCHAR",
    "model": "VARCHAR",
    "endpoint": "VARCHAR",
    "service_tier": "VARCHAR",
    "input_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "cached_tokens": "BIGINT",
    "cache_write_tokens": "BIGINT",
    "cache_write_1h_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "input_audio_tokens": "BIGINT",
    "input_image_tokens": "BIGINT",
    "output_audio_tokens": "BIGINT",
    "output_image_tokens": "BIGINT",
    "web_searches": "BIGINT",
    "provider_usage": "VARCHAR",
    "usage_reading": "VARCHAR",
    "cost_usd": _MONEY,
    "recorded_cost_usd": _MONEY,
    "cost_basis": "VARCHAR",
    "cached": "BOOLEAN",
    "status": "INTEGER",
    "latency_ms": "BIGINT",
    "tag": "VARCHAR",
    "session_id": "VARCHAR",
    "user_id": "VARCHAR",
    "api_key_id": "VARCHAR",
}
"""The columns that the doctor reads, and their types; a missing column is null."""
GROUP = ("provider", "model", "service_tier", "endpoint")
"""The columns by which findings are grouped."""
CALLER = ("input_tokens", "tag", "session_id", "user_id", "api_key_id")
"""What a request and its retry have in common, in addition to provider and model."""
BIN = 0.002
"""Width of the bins in which ratios of recorded to expected cost are counted."""
_LEAST_USD = "0.00002"
"""Below this cost, rounding to a millionth of a dollar distorts a ratio."""

FINE = "fine"
OFF = "off"
"""The recorded cost differs from the price, and the reason is still to be found."""
MISTAKES = (
    "cached_in_full",
    "cached_in_full",
    "writes_as_input",
    "reasoning_lost",
    "tier_ignored",
    "media_as_text",
    "searches_ignored",
)
"""The bits of `mask`, from the lowest: each mistake that alone explains a recorded cost."""
CERTAIN_MASK = sum(1 << bit for bit, kind in enumerate(MISTAKES) if kind != "searches_ignored")
"""The mistakes that no contract explains; providers grant some searches for free."""


class Tolerance(NamedTuple):
    """The difference at which two costs are still equal: USD, a share of the expected cost, and USD
    per cached token. All are SQL literals."""

    usd: str = "0.0000005"
    share: str = "0.001"
    cached_usd: str = "0.000000005"


LOOSE = Tolerance()
"""Loggers round to a millionth of a dollar, and to floats. Providers round the rates of cached
tokens to a cent per million, and not all loggers do."""
STRICT = Tolerance(share="0.000001", cached_usd="0")


COSTS_TABLE = "doctor_costs"


class CostChecks(NamedTuple):
    """Two relations of a connection: the name of a temporary table and SQL over it.

    `priced` has every row with `recorded_usd` (null if none), `expected_usd` (null if no price is
    known) and `verdict_1`, which is "fine" if they agree. `wrong` has the other rows: `verdict` is
    "off" or a kind of `doctor.kinds`; `effect_usd` is what the correction changes; `mask` says
    which of `MISTAKES` explain it; `bin` is recorded over expected on a logarithmic scale.
    """

    priced: str
    wrong: str


def select_needed_columns(rows: str, columns: Collection[str]) -> str:
    """SQL: the `CHECKED_COLUMNS` of a relation that has some of them, and the recorded cost."""
    values = {name: f"CAST(NULL AS {kind})" for name, kind in CHECKED_COLUMNS.items()}
    values |= {name: name for name in values if name in columns and name != "id"}
    values["id"] = "CAST(id AS VARCHAR)"
    selected = ", ".join(f"{value} AS {name}" for name, value in values.items())
    is_recomputed = (
        "coalesce(cost_basis, 'recorded') <> 'recorded'" if "cost_basis" in columns else "FALSE"
    )
    recorded = "recorded_cost_usd" if "recorded_cost_usd" in columns else f"CAST(NULL AS {_MONEY})"
    cost = "cost_usd" if "cost_usd" in columns else f"CAST(NULL AS {_MONEY})"
    return (
        f"(SELECT {selected}, CASE WHEN {is_recomputed} THEN {recorded}"  # noqa: S608
        f" ELSE coalesce({recorded}, {cost}) END::{_MONEY} AS recorded_usd FROM {rows})"
    )


def check_costs(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    columns: Collection[str],
    book: PriceBook,
    tolerance: Tolerance = LOOSE,
) -> CostChecks:
    """Compare the rows of `rows` (SQL, with those columns) with the prices of `book`.

    Creates the temporary table `doctor_costs` in the connection and registers `doctor_prices`.
    """
    have = filled_columns(connection, rows, [name for name in columns if name in CHECKED_COLUMNS])
    connection.register("doctor_prices", price_relation(price_keys(connection, rows, have), book))
    split = token_parts(have)
    kept = ", ".join(
        f"r.{name}"
        for name in (*_KEPT, *GROUP, *CALLER, *(f"n_{rate}" for rate in split), "n_searches")
    )
    priced = expected_costs(
        select_needed_columns(rows, columns),
        "doctor_prices",
        have,
        f"coalesce(r.source_id, r.id) AS shown_id, {kept}",
    )
    # A table, since pricing is expensive and both relations need it.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {COSTS_TABLE} AS"  # noqa: S608
        f" SELECT *, {_first_verdict(tolerance)} AS verdict_1 FROM ({priced})"
    )
    return CostChecks(COSTS_TABLE, _explained(COSTS_TABLE, split, tolerance))


_KEPT = (
    "id",
    "ts",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "recorded_usd",
    "cached",
    "status",
    "usage_reading",
)


def _first_verdict(tolerance: Tolerance) -> str:
    """SQL: the first verdict that applies, by the row itself and its expected cost."""
    failed = f"coalesce(status, 200) >= {FAILED}"
    counted = "cached_tokens + coalesce(cache_write_tokens, 0)"
    rules = [
        (
            "coalesce(cached, FALSE)",
            f"CASE WHEN coalesce(recorded_usd, 0) > 0 THEN 'cache_hit_billed' ELSE '{FINE}' END",
        ),
        (
            f"{failed} AND output_tokens = 0",
            f"CASE WHEN coalesce(recorded_usd, 0) > 0 THEN 'failed_billed' ELSE '{FINE}' END",
        ),
        (
            "input_tokens = 0 AND output_tokens = 0",
            f"CASE WHEN {_WITHOUT_TOKENS} OR recorded_usd = 0 THEN '{FINE}'"
            " ELSE 'tokens_missing' END",
        ),
        (f"{counted} > input_tokens", "'cached_beside_input'"),
        ("coalesce(reasoning_tokens, 0) > output_tokens", "'reasoning_lost'"),
        ("recorded_usd IS NULL", "'cost_missing'"),
        ("expected_usd IS NULL", "'unpriced'"),
        ("recorded_usd = 0 AND expected_usd > 0", "'recorded_free'"),
        (_same("recorded_usd", "expected_usd", tolerance), f"'{FINE}'"),
        ("output_tokens = 0 AND recorded_usd > expected_usd", f"'{_NO_OUTPUT}'"),
    ]
    cases = " ".join(f"WHEN {condition} THEN {verdict}" for condition, verdict in rules)
    return f"CASE {cases} ELSE '{OFF}' END"


_WITHOUT_TOKENS = (
    "(usage_reading IS NOT DISTINCT FROM 'without_tokens' OR regexp_matches(lower(model),"
    " '(whisper|transcri|tts|speech|audio|voice|dall-e|imagen|image|flux|stable-?diffusion|sdxl"
    "|sora|veo|video|rerank|moderation|ocr)'))"
)
"""Calls that are billed by the second, the picture or the search, by the log or by their model."""
_NO_OUTPUT = "no_output"
"""Without output: tokens are missing if the model charges for output, unlike one for embeddings."""


def _same(recorded: str, expected: str, tolerance: Tolerance) -> str:
    allowed = (
        f"greatest({tolerance.usd}, {tolerance.share} * abs({expected}),"
        f" {tolerance.cached_usd} * cached_tokens)"
    )
    return f"abs({recorded} - ({expected})) <= {allowed}"


def _explained(first: str, split: Collection[str], tolerance: Tolerance) -> str:
    """SQL: the rows that are not fine, the effect of correcting them, and the mistakes that explain
    their cost."""

    def tokens(name: str) -> str:
        return f"n_{name}::DECIMAL(12, 0)" if name in split else "0"

    def more(name: str, other: str) -> str:
        return f"{tokens(name)} * (p.rate_{other} - p.rate_{name})"

    fresh = f"input_tokens::DECIMAL(12, 0) - {tokens('in_audio')} - {tokens('in_image')}"
    written = f"{tokens('write')} - {tokens('write_1h')}"
    disjoint = " + ".join(
        (
            f"({fresh} - {tokens('input')}) * p.rate_input",
            f"(cached_tokens::DECIMAL(12, 0) - {tokens('cached')}) * p.rate_cached",
            f"(coalesce(cache_write_tokens, 0)::DECIMAL(12, 0) - {written}) * p.rate_write",
        )
    )
    reasoning = "coalesce(reasoning_tokens, 0)::DECIMAL(12, 0)"
    lost = (
        f"({reasoning} - {tokens('reasoning')}) * p.rate_reasoning"
        f" + (output_tokens::DECIMAL(12, 0) - {tokens('output')}) * p.rate_output"
    )
    at_base = " + ".join(f"{tokens(name)} * (b.rate_{name} - p.rate_{name})" for name in split)
    mistakes = {
        "d_cached": more("cached", "input"),
        "d_writes": f"{more('write', 'input')} + {more('write_1h', 'input')}",
        "d_reasoning": f"-{tokens('reasoning')} * p.rate_reasoning",
        "d_tier": f"CASE WHEN f.piece = f.base_piece THEN 0 ELSE {at_base} END",
        "d_media": " + ".join(
            more(name, plain)
            for name, plain in (
                ("in_audio", "input"),
                ("in_image", "input"),
                ("out_audio", "output"),
                ("out_image", "output"),
            )
        ),
        "d_searches": "-n_searches::DECIMAL(6, 0) * p.search_fee",
    }
    deltas = ", ".join(f"({sql})::{_MONEY} AS {name}" for name, sql in mistakes.items())
    second = f"""
        SELECT f.*, {deltas}, ({disjoint})::{_MONEY} AS disjoint_usd,
            ({lost})::{_MONEY} AS lost_usd,
            CASE WHEN verdict_1 <> '{_NO_OUTPUT}' THEN verdict_1
                WHEN p.rate_output > 0 THEN 'tokens_missing' ELSE '{OFF}' END AS verdict
        FROM {first} f LEFT JOIN doctor_prices p USING (piece)
            LEFT JOIN doctor_prices b ON b.piece = f.base_piece
        WHERE verdict_1 <> '{FINE}'
    """  # noqa: S608
    mask = " + ".join(
        f"CASE WHEN {_explains(sums, tolerance)} THEN {1 << bit} ELSE 0 END"
        for bit, sums in enumerate(_SUMS)
    )
    group, caller = ", ".join(GROUP), ", ".join(CALLER)
    has_ratio = f"recorded_usd >= {_LEAST_USD} AND expected_usd >= {_LEAST_USD}"
    ratio = "ln(recorded_usd / expected_usd)"
    return f"""
        SELECT id, shown_id, ts, {group}, {caller}, recorded_usd, expected_usd,
            verdict,
            CASE verdict WHEN 'cache_hit_billed' THEN -recorded_usd
                WHEN 'failed_billed' THEN -recorded_usd
                WHEN 'cached_beside_input' THEN disjoint_usd
                WHEN 'reasoning_lost' THEN lost_usd WHEN 'unpriced' THEN NULL
                ELSE expected_usd - coalesce(recorded_usd, 0) END AS effect_usd,
            CASE WHEN verdict = '{OFF}' THEN {mask} ELSE 0 END AS mask,
            CASE WHEN verdict = '{OFF}' AND {has_ratio}
                THEN floor({ratio} / {BIN})::INTEGER END AS bin
        FROM ({second})
    """  # noqa: S608


_SUMS = (
    "d_cached",
    "d_cached + d_writes",
    "d_writes",
    "d_reasoning",
    "d_tier",
    "d_media",
    "d_searches",
)
"""How much too high the recorded cost is by each of `MISTAKES`."""


def _explains(delta: str, tolerance: Tolerance) -> str:
    changes = f"NOT ({_same('expected_usd', f'expected_usd + {delta}', tolerance)})"
    return f"({changes} AND {_same('recorded_usd', f'expected_usd + {delta}', tolerance)})"
