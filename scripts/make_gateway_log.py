"""Derive data/litellm-spend-logs.csv.gz: spend logs of a LiteLLM gateway, with planted mistakes.

    python scripts/make_gateway_log.py [OUTPUT]

Every eighth request of data/requests.parquet, moved to a Monday in May 2026, in the columns of the
table `LiteLLM_SpendLogs` as PostgreSQL writes them to CSV. Tokens and latencies are the sample's.
The mistakes are typical of such logs and depend on a hash of each id: streamed answers of Claude
Haiku are logged as free; OpenAI's cached prompt tokens are billed at the full rate; half of the
failed calls have the cost of their prompt.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from make_sample import DATA, Chance, price

EVERY = 8
MOVED = datetime(2026, 5, 4, 9, tzinfo=UTC) - datetime(2023, 11, 16, 18, tzinfo=UTC)
STREAMED = {"chat": 0.7, "code": 0.2}
"""Share of each workload's requests whose answer was streamed."""
FAILED_WITH_COST = 0.5
"""Share of the failed calls that have the cost of their prompt."""
DATED = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}
COLUMNS = [
    "request_id",
    "call_type",
    "api_key",
    "spend",
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "completionStartTime",
    "model",
    "model_id",
    "model_group",
    "custom_llm_provider",
    "api_base",
    "user",
    "metadata",
    "cache_hit",
    "cache_key",
    "request_tags",
    "team_id",
    "end_user",
    "requester_ip_address",
    "messages",
    "response",
    "session_id",
    "status",
]


def make_usage(row: dict[str, Any]) -> dict[str, Any]:
    """Return the gateway's usage object. Input includes cached tokens, for both providers."""
    payload: dict[str, Any] = {
        "prompt_tokens": row["input_tokens"],
        "completion_tokens": row["output_tokens"],
        "total_tokens": row["input_tokens"] + row["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": row["cached_tokens"], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    if row["provider"] == "anthropic":
        payload |= {
            "cache_read_input_tokens": row["cached_tokens"],
            "cache_creation_input_tokens": 0,
        }
    return payload


def logged_cost(row: dict[str, Any], streamed: bool, chance: Chance) -> Decimal:
    """Return the cost that the gateway logged, with the planted mistakes."""
    tokens = row["input_tokens"], row["cached_tokens"], row["output_tokens"]
    if row["status"] != 200:
        return (
            price(row["model"], tokens[0], 0, 0)
            if chance.of("failed with cost") < FAILED_WITH_COST
            else Decimal(0)
        )
    if row["cached"] or (streamed and row["model"] == "claude-haiku-4-5"):
        return Decimal(0)
    return price(
        row["model"], tokens[0], 0 if row["provider"] == "openai" else tokens[1], tokens[2]
    )


def to_spend_log(row: dict[str, Any]) -> dict[str, Any]:
    """Return a request as a row of the table."""
    chance = Chance(UUID(row["id"]))
    streamed = (
        row["status"] == 200 and not row["cached"] and chance.of("streamed") < STREAMED[row["tag"]]
    )
    start = row["ts"].astimezone(UTC) + MOVED
    end = start + timedelta(milliseconds=row["latency_ms"])
    first_token = start + timedelta(milliseconds=row["latency_ms"] // 4) if streamed else end
    failed = row["status"] != 200
    openai = row["provider"] == "openai"
    metadata = {
        "status": "failure" if failed else "success",
        "user_api_key_alias": f"{row['tag']}-service",
        "usage_object": None if failed else make_usage(row),
        "error_information": {
            "error_code": str(row["status"]),
            "error_class": "RateLimitError" if row["status"] == 429 else "",
        }
        if failed
        else None,
    }
    stamp = "%Y-%m-%d %H:%M:%S.%f"
    model = DATED[row["model"]]
    return {
        "request_id": f"{'chatcmpl-' if openai else 'msg_'}{row['id'].replace('-', '')[:24]}",
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "spend": format(float(logged_cost(row, streamed, chance)), ".12g"),
        "total_tokens": row["input_tokens"] + row["output_tokens"],
        "prompt_tokens": row["input_tokens"],
        "completion_tokens": row["output_tokens"],
        "startTime": start.strftime(stamp)[:-3],
        "endTime": end.strftime(stamp)[:-3],
        "completionStartTime": first_token.strftime(stamp)[:-3],
        "model": model if openai else f"anthropic/{model}",
        "model_id": "",
        "model_group": row["model"],
        "custom_llm_provider": row["provider"],
        "api_base": "https://api.openai.com" if openai else "https://api.anthropic.com",
        "user": "default_user_id",
        "metadata": json.dumps(metadata),
        "cache_hit": "True" if row["cached"] else "None",
        "cache_key": "Cache OFF",
        "request_tags": json.dumps([row["tag"]]),
        "team_id": "",
        "end_user": "",
        "requester_ip_address": "",
        "messages": "{}",
        "response": "{}",
        "session_id": "",
        "status": metadata["status"],
    }


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "litellm-spend-logs.csv.gz"
    rows = pq.read_table(DATA / "requests.parquet").to_pylist()[::EVERY]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_spend_log(row) for row in rows)
    output.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main()
