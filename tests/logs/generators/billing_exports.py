"""Billing exports of OpenAI and Anthropic: daily usage and costs, from their APIs and consoles.

OpenAI's input count includes cache reads; Anthropic's counts are disjoint. Anthropic's API has
costs in cents.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.logs.generators.calls import START, Call, calls, price

DAYS = 30
PROJECT = "proj_abc"
NAMES = {"claude-sonnet-4-5-20250929": "Claude Sonnet 4.5", "claude-haiku-4-5": "Claude Haiku 4.5"}
Key = tuple[date, str, str]


def billed(provider: str) -> list[Call]:
    return [
        call
        for call in calls(1_400, 20260601, DAYS)
        if call.provider == provider and call.status == 200 and not call.hit
    ]


def files() -> dict[str, bytes]:
    openai, anthropic = _grouped(billed("openai")), _grouped(billed("anthropic"))
    return {
        "openai-usage.json": _openai_page(openai, _openai_usage).encode(),
        "openai-costs.json": _openai_page(openai, _openai_costs).encode(),
        "openai-usage.csv": _openai_usage_csv(openai).encode(),
        "openai-costs.csv": _openai_costs_csv(openai).encode(),
        "anthropic-usage.json": _anthropic_page(anthropic, _anthropic_usage).encode(),
        "anthropic-costs.json": _anthropic_page(anthropic, _anthropic_costs).encode(),
        "anthropic-usage.csv": _anthropic_usage_csv(anthropic).encode(),
        "anthropic-costs.csv": _anthropic_costs_csv(anthropic).encode(),
    }


class Sums:
    """The sums of the calls of one day, model and key."""

    def __init__(self) -> None:
        self.requests = self.fresh = self.cached = self.written = self.output = 0

    def add(self, call: Call) -> None:
        self.requests += 1
        self.fresh += call.input - call.cached - call.written
        self.cached += call.cached
        self.written += call.written
        self.output += call.output

    @property
    def input(self) -> int:
        return self.fresh + self.cached + self.written


def _grouped(made: Iterable[Call]) -> dict[Key, Sums]:
    sums: defaultdict[Key, Sums] = defaultdict(Sums)
    for call in made:
        sums[(call.ts.date(), call.model, f"key_{call.number % 4}")].add(call)
    return dict(sorted(sums.items()))


def _days(sums: dict[Key, Sums]) -> list[tuple[date, list[tuple[Key, Sums]]]]:
    """Every day, including those without usage, as both APIs list them."""
    days = [(START + timedelta(days=n)).date() for n in range(DAYS + 1)]
    return [(day, [(key, usage) for key, usage in sums.items() if key[0] == day]) for day in days]


def _parts(model: str, usage: Sums) -> list[tuple[str, Decimal]]:
    """USD by kind of token."""
    return [
        ("input", price(model, usage.fresh, 0, 0, 0)),
        ("cached input", price(model, 0, usage.cached, 0, 0)),
        ("cache write", price(model, 0, 0, usage.written, 0)),
        ("output", price(model, 0, 0, 0, usage.output)),
    ]


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _openai_page(sums: dict[Key, Sums], results: Any) -> str:
    data = [
        {
            "object": "bucket",
            "start_time": _epoch(day),
            "end_time": _epoch(day) + 86_400,
            "results": [result for key, usage in rows for result in results(key, usage)],
        }
        for day, rows in _days(sums)
    ]
    return json.dumps({"object": "page", "data": data, "has_more": False, "next_page": None})


def _openai_usage(key: Key, usage: Sums) -> list[dict[str, Any]]:
    return [
        {
            "object": "organization.usage.completions.result",
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "num_model_requests": usage.requests,
            "project_id": PROJECT,
            "user_id": None,
            "api_key_id": key[2],
            "model": key[1],
            "batch": False,
            "service_tier": None,
            "input_cached_tokens": usage.cached,
            "input_audio_tokens": 0,
            "output_audio_tokens": 0,
        }
    ]


def _openai_costs(key: Key, usage: Sums) -> list[dict[str, Any]]:
    """One result per item; the amount is a number or a text with many digits."""
    return [
        {
            "object": "organization.costs.result",
            "amount": {
                "value": f"{usd:.30f}" if kind == "output" else float(usd),
                "currency": "usd",
            },
            "line_item": f"{key[1]}, {kind}",
            "project_id": PROJECT,
            "organization_id": "org-abc",
        }
        for kind, usd in _parts(key[1], usage)
        if usd
    ]


def _openai_usage_csv(sums: dict[Key, Sums]) -> str:
    columns = (
        "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,"
        "api_key_id,model,batch,service_tier,input_tokens,output_tokens,input_cached_tokens,"
        "input_uncached_tokens,input_audio_tokens,output_audio_tokens"
    )
    rows = []
    for day, day_rows in _days(sums):
        rows += [
            [
                *_bounds(day),
                PROJECT,
                f"{usage.requests}.0",
                "",
                key[2],
                key[1],
                "False",
                "",
                *_counts(usage),
            ]
            for key, usage in day_rows
        ] or [[*_bounds(day), *[""] * 13]]
    return _csv(columns, rows)


def _counts(usage: Sums) -> list[int]:
    return [usage.input, usage.output, usage.cached, usage.input - usage.cached, 0, 0]


def _openai_costs_csv(sums: dict[Key, Sums]) -> str:
    columns = (
        "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,"
        "quantity_unit,line_item,user_id,"
        "api_key_id,project_id,organization_id,project_name,organization_name,user_email,api_source"
    )
    rest = ["", "Example", "a@example.com", ""]
    rows = []
    for day, day_rows in _days(sums):
        rows += [
            [
                *_bounds(day),
                f"{usd:.30f}",
                "usd",
                "",
                "",
                f"{key[1]}, {kind}",
                "",
                key[2],
                PROJECT,
                "org-abc",
                *rest,
            ]
            for key, usage in day_rows
            for kind, usd in _parts(key[1], usage)
            if usd
        ] or [[*_bounds(day), *[""] * 13]]
    return _csv(columns, rows)


def _bounds(day: date) -> list[Any]:
    return [
        _epoch(day),
        _epoch(day) + 86_400,
        f"{day}T00:00:00+00:00",
        f"{day + timedelta(days=1)}T00:00:00+00:00",
    ]


def _anthropic_page(sums: dict[Key, Sums], results: Any) -> str:
    data = [
        {
            "starting_at": f"{day}T00:00:00Z",
            "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
            "results": [result for key, usage in rows for result in results(key, usage)],
        }
        for day, rows in _days(sums)
    ]
    return json.dumps({"data": data, "has_more": False, "next_page": None})


def _anthropic_usage(key: Key, usage: Sums) -> list[dict[str, Any]]:
    hour = usage.written // 3
    return [
        {
            "uncached_input_tokens": usage.fresh,
            "cache_creation": {
                "ephemeral_1h_input_tokens": hour,
                "ephemeral_5m_input_tokens": usage.written - hour,
            },
            "cache_read_input_tokens": usage.cached,
            "output_tokens": usage.output,
            "server_tool_use": {"web_search_requests": 0},
            "api_key_id": key[2],
            "workspace_id": None,
            "model": key[1],
            "service_tier": "standard",
            "context_window": "0-200k",
        }
    ]


_TOKENS = {
    "input": "uncached_input_tokens",
    "cached input": "cache_read_input_tokens",
    "cache write": "cache_creation.ephemeral_5m_input_tokens",
    "output": "output_tokens",
}


def _anthropic_costs(key: Key, usage: Sums) -> list[dict[str, Any]]:
    return [
        {
            "currency": "USD",
            "amount": f"{usd * 100:f}",
            "workspace_id": None,
            "description": f"{NAMES[key[1]]} Usage - {kind}",
            "cost_type": "tokens",
            "context_window": "0-200k",
            "model": key[1],
            "service_tier": "standard",
            "token_type": _TOKENS[kind],
        }
        for kind, usd in _parts(key[1], usage)
        if usd
    ]


def _anthropic_usage_csv(sums: dict[Key, Sums]) -> str:
    columns = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,"
        "usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
        "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,"
        "web_search_count,inference_geo,speed"
    )
    rows = [
        [
            day,
            model,
            key,
            "Default",
            "standard",
            "≤ 200k",
            usage.fresh,
            usage.written,
            0,
            usage.cached,
            usage.output,
            0,
            "global",
            "",
        ]
        for (day, model, key), usage in sums.items()
    ]
    return _csv(columns, rows)


def _anthropic_costs_csv(sums: dict[Key, Sums]) -> str:
    """By the model's display name, in whole cents."""
    columns = (
        "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,"
        "list_price_usd,cost_type,"
        "inference_geo,speed"
    )
    kinds = {
        "input": "input_no_cache",
        "cached input": "input_cache_read",
        "cache write": "input_cache_write_5m",
        "output": "output",
    }
    rows = [
        [
            day,
            NAMES[model],
            "Default",
            key,
            "message",
            "≤ 200k",
            kinds[kind],
            f"{usd:.2f}",
            f"{usd:.2f}",
            "token",
            "global",
            "",
        ]
        for (day, model, key), usage in sums.items()
        for kind, usd in _parts(model, usage)
        if usd
    ]
    return _csv(columns, rows)


def _csv(columns: str, rows: list[list[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns.split(","))
    writer.writerows(rows)
    return out.getvalue()
