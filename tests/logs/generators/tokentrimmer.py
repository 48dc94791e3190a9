"""TokenTrimmer's `request_logs`, as PostgreSQL writes the table to CSV.

Input tokens include cached ones. Booleans are `t` and `f`, nulls are empty, times have a short
zone. Some columns are the gateway's own.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.logs.generators.calls import Call, calls, price

ORG = UUID("6f1c0000-0000-4000-8000-0000000000ff")
ROUTE = UUID("0b6a0000-0000-4000-8000-000000000007")


def requests() -> list[Call]:
    return calls(240, 20260525)


def files() -> dict[str, bytes]:
    rows = [row(call) for call in requests()]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return {"tokentrimmer.csv": text.getvalue().encode()}


def routed(call: Call) -> bool:
    return call.number % 5 == 2


def baseline(call: Call) -> Decimal:
    """The cost of the call in USD without the gateway's cache."""
    return price(
        call.model, call.input - call.cached - call.written, call.cached, call.written, call.output
    )


def row(call: Call) -> dict[str, Any]:
    """One row. An answer from the gateway's cache costs 0 and keeps the call's baseline."""
    return {
        "id": str(call.id),
        "org_id": str(ORG),
        "ts": _time(call.ts),
        "provider": call.provider,
        "model": call.model,
        "input_tokens": call.input,
        "output_tokens": call.output,
        "cached_tokens": call.cached,
        "cost_usd": format(call.cost, ".12f"),
        "baseline_cost_usd": format(baseline(call), ".12f"),
        "cached": "t" if call.hit else "f",
        "cache_layer": "l1" if call.hit else "",
        "matched_route_id": str(ROUTE) if routed(call) else "",
        "latency_ms": call.latency_ms,
        "upstream_latency_ms": "" if call.hit else call.latency_ms - 2,
        "status": call.status,
        "tag": call.task if call.number % 4 else "",
        "embedding": json.dumps([0.5, -0.25, call.number / 256]) if call.number % 3 == 0 else "",
        "finish_reason": call.finish if call.status == 200 else "",
        "body": f'a private question, number {call.number}, with "quotes"\nand lines',
        "response_body": "a private answer" if call.status == 200 else "",
        "created_at": _time(call.end),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(" ", timespec="milliseconds").removesuffix(":00")
