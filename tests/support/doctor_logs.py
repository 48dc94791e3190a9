"""A clean log of many kinds of calls, priced by the catalogue's own calculator, and ways to spoil
it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Usage

from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.money import round_money

START = datetime(2026, 10, 19, tzinfo=UTC)
"""A Monday for which the catalogue has batch prices."""
NOW = START + timedelta(days=20)
Row = dict[str, Any]


def price(row: Row) -> Decimal:
    """The cost of a call by the calculator of the catalogue."""
    usage = {
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cache_read_tokens": row["cached_tokens"],
        "cache_write_tokens": row["cache_write_tokens"] or 0,
        "input_audio_tokens": row["input_audio_tokens"] or 0,
        "output_audio_tokens": row["output_audio_tokens"] or 0,
    }
    context = {"processing": "batch"} if row["service_tier"] == "batch" else None
    calculation = get_snapshot().calc(
        Usage(
            **{
                name: count
                for name, count in usage.items()
                if count or name in ("input_tokens", "output_tokens")
            }
        ),
        row["model"],
        row["provider"],
        None,
        row["ts"],
        context,
    )
    return round_money(calculation.total_price)


@cache
def _clean() -> tuple[Row, ...]:
    draw = random.Random(11)
    rows = []
    kinds = [
        ("openai", "gpt-4o", "chat"),
        ("openai", "gpt-4o-mini", "chat"),
        ("openai", "gpt-5", "batch"),
        ("openai", "o3", "reasoning"),
        ("openai", "gpt-audio", "audio"),
        ("openai", "text-embedding-3-small", "embedding"),
        ("anthropic", "claude-haiku-4-5", "writes"),
        ("google", "gemini-2.5-pro", "long"),
        ("azure", "gpt-4o-mini", "chat"),
    ]
    for n in range(6_000):
        provider, model, kind = kinds[n % len(kinds)]
        into = (
            draw.choice([210_000, 260_000])
            if kind == "long" and draw.random() < 0.4
            else draw.randrange(300, 9_000)
        )
        out = 0 if kind == "embedding" else draw.randrange(20, 1_500)
        row = {
            "id": f"{n:032x}",
            "ts": START + timedelta(minutes=2 * n, microseconds=draw.randrange(1, 10**6)),
            "provider": provider,
            "model": model,
            "input_tokens": into,
            "output_tokens": out,
            "cached_tokens": draw.randrange(into // 2)
            if kind in ("chat", "writes", "long", "batch") and draw.random() < 0.6
            else 0,
            "cache_write_tokens": draw.randrange(into // 3) if kind == "writes" else None,
            "reasoning_tokens": draw.randrange(out) if kind == "reasoning" else None,
            "input_audio_tokens": draw.randrange(into // 2) if kind == "audio" else None,
            "output_audio_tokens": draw.randrange(out) if kind == "audio" else None,
            "service_tier": "batch" if kind == "batch" else None,
            "cached": False,
            "status": 200,
            "latency_ms": draw.randrange(80, 20_000),
            "tag": draw.choice([None, "chat", "search"]),
            "user_id": f"user-{n}",
        }
        row["cost_usd"] = price(row)
        if n % 50 == 7:
            row |= {
                "status": 429,
                "output_tokens": 0,
                "reasoning_tokens": None,
                "output_audio_tokens": None,
                "cost_usd": Decimal(0),
            }
        elif n % 50 == 9:
            row |= {"cached": True, "cache_layer": "l1", "cost_usd": Decimal(0), "latency_ms": 0}
        rows.append(row)
    return tuple(rows)


def clean() -> list[Row]:
    """Eight days of calls, one every two minutes, whose costs agree with the prices."""
    return [dict(row) for row in _clean()]


def table(rows: list[Row]) -> pa.Table:
    """The rows as an import makes them."""
    filled = [
        {
            "baseline_cost_usd": row["cost_usd"],
            "recorded_cost_usd": row["cost_usd"],
            "cost_basis": "recorded",
        }
        | row
        for row in rows
    ]
    return pa.Table.from_pylist(filled, schema=REQUEST_SCHEMA)


def searching(row: Row, searches: int) -> Row:
    """The call with web searches in its usage, at 10 USD per thousand."""
    usage = f'{{"server_tool_use": {{"web_search_requests": {searches}}}}}'
    cost = row["cost_usd"] + Decimal(searches) / 100
    return row | {"provider_usage": usage, "cost_usd": cost}


def plain(row: Row) -> bool:
    """A call that was answered by its model."""
    return row["status"] == 200 and not row["cached"]
