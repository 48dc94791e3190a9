"""Helicone requests: JSON lines of its export tool, and its CSV.

`prompt_tokens` excludes cache reads, cache writes and audio; `completion_tokens` includes
reasoning. Times are UTC without a zone. A hit in Helicone's own cache refers to the request that
filled it. Negative statuses are Helicone's own: -2 pending, -3 cancelled by the client.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.logs.generators.calls import Call, calls

NOBODY = UUID(int=0)
STATUS = {429: 429, 500: 500, 400: -3}
PROVIDERS = {"openai": "OPENAI", "anthropic": "ANTHROPIC", "google": "GOOGLE"}


def requests() -> list[Call]:
    return calls(220, 20260511)


def files() -> dict[str, bytes]:
    rows = [_row(call) for call in requests()]
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    return {"helicone.jsonl": lines.encode(), "helicone.csv": _csv(rows).encode()}


def status(call: Call) -> int:
    return STATUS.get(call.status, call.status)


def _row(call: Call) -> dict[str, Any]:
    fresh = call.input - call.cached - call.written
    failed = call.status != 200
    return {
        "response_id": str(UUID(int=call.id.int ^ 1)),
        "response_created_at": _time(call.end),
        "response_status": status(call),
        "response_body": {"helicone_message": "fetching body from signed_url"},
        "request_id": str(call.id),
        "request_body": {"helicone_message": "fetching body from signed_url"},
        "request_created_at": _time(call.ts),
        "request_user_id": call.user if call.number % 4 else "",
        "request_properties": _properties(call),
        "provider": "CUSTOM" if call.number % 50 == 13 else PROVIDERS[call.provider],
        "delay_ms": call.latency_ms,
        "request_model": call.model,
        "model": call.model,
        "ai_gateway_body_mapping": "",
        "time_to_first_token": call.first_ms if call.first else None,
        # Null if the body could not be read, as is common for errors.
        "total_tokens": None if failed else fresh + call.output,
        "completion_tokens": None if failed else call.output,
        "prompt_cache_read_tokens": call.cached,
        "prompt_cache_write_tokens": call.written,
        "prompt_tokens": None if failed else fresh,
        "country_code": "DE",
        "scores": {},
        "properties": _properties(call),
        "asset_ids": [],
        "target_url": f"https://api.{call.provider}.com/v1/",
        "cache_reference_id": str(NOBODY) if not call.hit else str(UUID(int=call.id.int ^ 2)),
        "request_referrer": None,
        "cache_enabled": call.hit,
        "cost": float(call.cost),
        "prompt_id": "",
        "prompt_version": "",
        "updated_at": _time(call.end),
        "storage_location": "s3",
    }


def _properties(call: Call) -> dict[str, str]:
    return (
        {"Helicone-Session-Id": call.session, "feature": call.task}
        if call.number % 4
        else {"feature": call.task}
    )


_COLUMNS = (
    "response_id",
    "response_created_at",
    "response_status",
    "request_created_at",
    "request_body",
    "request_properties",
    "request_user_id",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "latency",
    "cost",
)


def _csv(rows: list[dict[str, Any]]) -> str:
    """The tool's few columns: `latency` is always empty, quotes in objects are doubled twice, and
    there is no request_id."""
    return (
        ",".join(_COLUMNS)
        + "\n"
        + "".join(",".join(_cell(row.get(name)) for name in _COLUMNS) + "\n" for row in rows)
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = (
        json.dumps(value, separators=(",", ":")).replace('"', '""')
        if isinstance(value, dict)
        else str(value)
    )
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def _time(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", timespec="milliseconds")
