"""Langfuse observations: CSV and JSON of the UI, the old UI, and blob storage (legacy, enriched).

Usage types are disjoint: `input` excludes `input_cached_tokens` and the like, `output` excludes
`output_reasoning_tokens`; `total` is their sum. Only observations of type GENERATION have usage.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from datetime import datetime
from typing import Any

from tests.logs.generators.calls import Call, calls

OTHERS = ("SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER")
CALLS = 210


def generations() -> list[Call]:
    return calls(CALLS, 20260504)


def files() -> dict[str, bytes]:
    rows = list(_observations())
    return {
        "langfuse-ui.json": _array([_ui(call, kind) for call, kind in rows]),
        "langfuse-ui.csv": _csv([_ui(call, kind) for call, kind in rows]),
        "langfuse-ui-v2.json": _array([_older(call, kind) for call, kind in rows]),
        "langfuse-blob-legacy.jsonl": _lines([_legacy(call, kind) for call, kind in rows]),
        "langfuse-blob-enriched.jsonl.gz": gzip.compress(
            _lines([_enriched(call, kind) for call, kind in rows]), mtime=0
        ),
    }


def _observations() -> list[tuple[Call, str]]:
    """The generations, mixed with observations of other types, which have no usage."""
    chance = random.Random(7)
    rows = []
    for call in generations():
        rows.append((call, "GENERATION"))
        if chance.random() < 0.15:
            rows.append((call, chance.choice(OTHERS)))
    return rows


def _id(call: Call, kind: str) -> str:
    """Sixteen hex digits, as current SDKs write, or a UUID, as older ones do."""
    if kind != "GENERATION":
        return f"{call.id.hex[8:23]}{OTHERS.index(kind):x}"
    return str(call.id) if call.number % 5 == 0 else call.id.hex[:16]


def _usage(call: Call) -> dict[str, int]:
    """Usage types as Langfuse's own integrations name them, by provider."""
    fresh = call.input - call.cached - call.written
    if call.status != 200:
        return {}
    usage = {
        "input": fresh,
        "output": call.output - call.reasoning,
        "total": call.input + call.output,
    }
    if call.provider == "anthropic":
        usage |= {
            "cache_read_input_tokens": call.cached,
            "cache_creation_input_tokens": call.written,
        }
    elif call.cached:
        usage["input_cached_tokens"] = call.cached
    if call.reasoning:
        usage["output_reasoning_tokens"] = call.reasoning
    return usage


def _costs(call: Call) -> dict[str, float]:
    """Costs by usage type; empty if Langfuse has no price for the model."""
    if call.status != 200 or call.number % 41 == 7:
        return {}
    return {
        "input": float(call.cost) / 2,
        "output": float(call.cost) / 2,
        "total": float(call.cost),
    }


def _prompt(call: Call) -> list[dict[str, str]]:
    return [
        {
            "role": "user",
            "content": f'Please {call.task} no. {call.number}, "quoted", with a comma\nand a line',
        }
    ]


def _ui(call: Call, kind: str) -> dict[str, Any]:
    model = kind == "GENERATION"
    costs = _costs(call) if model else {}
    usage = _usage(call) if model else {}
    return {
        "id": _id(call, kind),
        "traceId": call.id.hex,
        "type": kind,
        "environment": "production",
        "parentObservationId": None,
        "startTime": _iso(call.ts),
        "endTime": None if kind == "EVENT" else _iso(call.end),
        "name": call.task,
        "metadata": {"ls_provider": call.provider} if call.number % 3 == 0 else {},
        "level": "DEFAULT" if call.status == 200 else "ERROR",
        "statusMessage": None if call.status == 200 else f"Error code: {call.status}",
        "input": _prompt(call) if model else None,
        "output": {"role": "assistant", "content": "Done."} if model and call.output else None,
        "modelParameters": {"temperature": 0.2} if model else None,
        "completionStartTime": _iso(call.first) if model and call.first else None,
        "usageDetails": usage,
        "costDetails": costs,
        "model": call.model if model else None,
        # The UI's export has milliseconds here and seconds below; other versions have only seconds.
        "latency": None if kind == "EVENT" else call.latency_ms,
        "timeToFirstToken": call.first_ms / 1000 if model and call.first else None,
        "inputCost": costs.get("input"),
        "outputCost": costs.get("output"),
        "totalCost": costs.get("total", 0),
        "inputUsage": sum(v for k, v in usage.items() if k.startswith("input")),
        "outputUsage": sum(v for k, v in usage.items() if k.startswith("output")),
        "totalUsage": usage.get("total", 0),
        "traceName": "assistant",
        "traceTags": [call.task],
        "userId": call.user,
        "sessionId": call.session,
        "helpfulness": [0.5],
    }


def _older(call: Call, kind: str) -> dict[str, Any]:
    """Version 2: three counts, the input including everything, and `calculated…Cost`."""
    model = kind == "GENERATION"
    known = model and call.status == 200
    priced = known and call.number % 41 != 7
    return {
        "id": _id(call, kind),
        "traceId": call.id.hex,
        "type": kind,
        "startTime": _iso(call.ts),
        "endTime": None if kind == "EVENT" else _iso(call.end),
        "name": call.task,
        "metadata": None,
        "level": "DEFAULT" if call.status == 200 else "ERROR",
        "statusMessage": None,
        "version": None,
        "input": _prompt(call) if model else None,
        "output": None,
        "model": call.model if model else None,
        "modelParameters": None,
        "completionStartTime": _iso(call.first) if model and call.first else None,
        "unit": "TOKENS" if model else None,
        "promptTokens": call.input if known else 0,
        "completionTokens": call.output if known else 0,
        "totalTokens": call.input + call.output if known else 0,
        # Decimals are exported as texts.
        "calculatedInputCost": f"{call.cost / 2:f}" if priced else None,
        "calculatedOutputCost": f"{call.cost / 2:f}" if priced else None,
        "calculatedTotalCost": f"{call.cost:f}" if priced else None,
        "latency": None if kind == "EVENT" else call.latency_ms / 1000,
        "timeToFirstToken": None,
        "traceName": "assistant",
        "traceTags": [],
        "userId": call.user,
        "sessionId": call.session,
    }


def _legacy(call: Call, kind: str) -> dict[str, Any]:
    model = kind == "GENERATION"
    costs = _costs(call) if model else {}
    return {
        "id": _id(call, kind),
        "trace_id": call.id.hex,
        "project_id": "clkpwwm0m000gmm094odg11gi",
        "environment": "default",
        "type": kind,
        "parent_observation_id": None,
        "start_time": _plain(call.ts),
        "end_time": None if kind == "EVENT" else _plain(call.end),
        "name": call.task,
        "metadata": {"attributes": json.dumps({"gen_ai.system": call.provider})}
        if call.number % 3 == 0
        else {},
        "level": "DEFAULT" if call.status == 200 else "ERROR",
        "status_message": None,
        "version": None,
        "input": json.dumps(_prompt(call)) if model else None,
        "output": "Done." if model else None,
        "provided_model_name": call.model if model else None,
        "model_parameters": '{"temperature":0.2}' if model else None,
        "usage_details": _usage(call) if model else {},
        "cost_details": costs,
        "completion_start_time": _plain(call.first) if model and call.first else None,
        "prompt_name": None,
        "prompt_version": None,
        "total_cost": costs.get("total"),
        "latency": None if kind == "EVENT" else call.latency_ms / 1000,
        "time_to_first_token": call.first_ms / 1000 if model and call.first else None,
        "model_id": "clrntjt89000108jwcou1af71" if costs else None,
        "tool_calls": [],
        "tool_call_names": [],
        "tool_definitions": {},
        "usage_pricing_tier_name": "Standard" if costs else None,
        "input_price": "0.0000025" if costs else None,
        "output_price": "0.00001" if costs else None,
        "total_price": None,
    }


def _enriched(call: Call, kind: str) -> dict[str, Any]:
    """Enriched with the trace. A missing value is an empty text, and an unknown cost is 0."""
    row: dict[str, Any] = {
        name: "" if value is None and name not in _NULLS else value
        for name, value in _legacy(call, kind).items()
    }
    if call.number % 9 == 0:
        # 64-bit counts come quoted from a ClickHouse that is set so.
        row["usage_details"] = {name: str(value) for name, value in row["usage_details"].items()}
    return row | {
        "total_cost": row["cost_details"].get("total", 0),
        "usage_pricing_tier_id": None,
        "user_id": call.user,
        "session_id": call.session,
        "trace_name": "assistant",
        "tags": [call.task, "eu"],
        "release": "",
        "bookmarked": False,
        "public": False,
    }


_NULLS = {
    "end_time",
    "completion_start_time",
    "prompt_version",
    "latency",
    "time_to_first_token",
    "usage_pricing_tier_name",
    "input_price",
    "output_price",
    "total_price",
}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", timespec="microseconds")


def _array(rows: list[dict[str, Any]]) -> bytes:
    return ("[" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "]").encode()


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()


def _csv(rows: list[dict[str, Any]]) -> bytes:
    """Every cell in quotes; values other than texts are JSON, and null is an empty text."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            [
                ""
                if v is None
                else v
                if isinstance(v, str)
                else json.dumps(v, separators=(",", ":"))
                for v in row.values()
            ]
        )
    return out.getvalue().encode()
