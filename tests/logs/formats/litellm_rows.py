"""Generates LiteLLM's rows with their quirks, and what a reader should make of each.

`python -m tests.logs.formats.litellm_rows` writes the fixtures.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.logs.generators.files import FIXTURES

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
# Logged model, LiteLLM's provider, model group; with and without prefix, region, date, provider.
MODELS = (
    ("gpt-4o", "openai", "gpt-4o"),
    ("openai/gpt-4o-mini", "openai", "small"),
    ("claude-sonnet-4-20250514", "anthropic", "sonnet"),
    ("anthropic/claude-3-5-haiku-20241022", "anthropic", "haiku"),
    ("azure/eu/gpt-4o-2024-08-06", "azure", "gpt-4o-eu"),
    ("bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0", "bedrock", "sonnet-aws"),
    ("vertex_ai/gemini-2.0-flash", "vertex_ai", "flash"),
    ("gemini-2.5-pro", "gemini", "pro"),
    ("o3-mini", "", "thinker"),
    ("mistral/mistral-small-latest", "", "mistral"),
)


class Made(NamedTuple):
    """A row of LiteLLM, and the expected fields, or why it is not a request."""

    row: dict[str, Any]
    expected: dict[str, Any]
    why: str | None = None


def spend_logs(count: int, seed: int = 11) -> Iterator[Made]:
    """Rows of `LiteLLM_SpendLogs`, `metadata` as an object."""
    rng = random.Random(seed)
    at = START
    for number in range(count):
        at += timedelta(milliseconds=rng.randrange(200, 90_000))
        yield _made(rng, number, at)


def _made(rng: random.Random, number: int, at: datetime) -> Made:
    model, provider, group = MODELS[number % len(MODELS)]
    quirk = number % 20
    fresh, output = rng.randrange(20, 4000), rng.randrange(1, 900)
    anthropic = "claude" in model
    reads = rng.randrange(1, 3000) if rng.random() < 0.4 else 0
    writes = rng.randrange(1, 2000) if anthropic and rng.random() < 0.3 else 0
    reasoning = rng.randrange(output) if model == "o3-mini" else 0
    prompt = fresh + reads + writes
    streamed = rng.random() < 0.5
    took, first = rng.randrange(150, 20_000), rng.randrange(50, 150)
    cost = round((fresh * 2.5 + reads * 0.3 + writes * 3.75 + output * 10) / 1e6, 9)
    hit, failed, refused, call = (
        quirk == 3,
        quirk == 7,
        quirk == 11 and number % 40 == 11,
        "acompletion",
    )
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {
            "cached_tokens": reads,
            "audio_tokens": None,
            "image_tokens": None,
            "text_tokens": None,
        },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": None,
            "text_tokens": output - reasoning,
        },
    }
    if anthropic:
        usage |= {"cache_read_input_tokens": reads, "cache_creation_input_tokens": writes}
    if hit or (streamed and quirk == 5):
        cost = 0.0  # a hit is free; some versions also log a streamed call as free
    if quirk == 13:
        call = "aretrieve_batch"
    elif quirk == 17:
        call = "call_mcp_tool" if number % 40 == 17 else "aembedding"
    error = {
        "error_code": "429" if number % 40 == 7 else "",
        "error_class": "RateLimitError",
        "llm_provider": provider,
    }
    if failed or refused:
        prompt = output = reads = writes = reasoning = 0
        usage, cost = {}, 0.0
    if refused:
        model = provider = group = ""
    old = quirk == 19  # until 2025 the usage had another name and lacked the plain counts
    metadata: dict[str, Any] = {
        "user_api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "user_api_key_alias": "prod-key" if number % 3 else None,
        "status": None if old else ("failure" if failed or refused else "success"),
        "error_information": error if failed or refused else None,
        "usage_object": None if old else usage,
        "additional_usage_values": {
            k: v for k, v in usage.items() if "tokens_details" in k or "input_tokens" in k
        },
        "cost_breakdown": None
        if old
        else {"input_cost": cost / 2, "output_cost": cost / 2, "total_cost": cost},
    }
    tags = (["chat", "User-Agent: litellm/1.74.0"], ["User-Agent: curl"], ["chat", "eu"], [])[
        number % 4
    ]
    identity = f"chatcmpl-{rng.getrandbits(96):024x}" + (
        f"_cache_hit{at.timestamp()}" if hit else ""
    )
    row = {
        "request_id": identity,
        "call_type": call,
        "api_key": metadata["user_api_key"],
        "spend": cost,
        "total_tokens": prompt + output,
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "startTime": at,
        "endTime": at + timedelta(milliseconds=took),
        "completionStartTime": at + timedelta(milliseconds=first if streamed else took),
        "model": model,
        "model_id": f"{rng.getrandbits(64):016x}",
        "model_group": group,
        "custom_llm_provider": provider,
        "api_base": "https://api.example.com/v1",
        "user": "default_user_id",
        "metadata": metadata,
        "cache_hit": "True" if hit else ("None", "False", "")[number % 3],
        "cache_key": "Cache OFF",
        "request_tags": tags,
        "team_id": "",
        "end_user": f"customer-{number % 7}" if number % 2 else "",
        "requester_ip_address": "",
        "messages": {},
        "response": {},
        "session_id": f"session-{number // 5}",
        "status": None if old else metadata["status"],
        "proxy_server_request": {},
    }
    why = None
    if call in ("aretrieve_batch", "call_mcp_tool"):
        why = "a file, batch or tool call, no request to a model"
    elif refused:
        why = "it was refused before a model was chosen"
    details = None if not usage else usage["prompt_tokens_details"]
    expected = {
        "source_id": identity,
        "ts": at,
        "model": model,
        "provider": provider or ("mistral" if model.startswith("mistral/") else "unknown"),
        "input_tokens": prompt,
        "output_tokens": output,
        "cached_tokens": reads,
        "cache_write_tokens": writes if anthropic and usage else None,
        "reasoning_tokens": reasoning if usage else None,
        "cached": hit,
        "latency_ms": took,
        "streamed": streamed,
        "status": (429 if error["error_code"] else 500) if failed else 200,
        "tag": ("chat", None, "chat,eu", None)[number % 4],
        "user_id": row["end_user"] or "default_user_id",
        "session_id": row["session_id"],
        "cost": cost,
        "has_usage": details is not None,
    }
    return Made(row, expected, why)


def payloads(count: int, seed: int = 12) -> Iterator[Made]:
    """Standard logging payloads of the same requests."""
    for made in spend_logs(count, seed):
        row, metadata = made.row, made.row["metadata"]
        payload = {
            "id": row["request_id"],
            "trace_id": row["session_id"],
            "call_type": row["call_type"],
            "stream": made.expected["streamed"],
            "response_cost": row["spend"],
            "cost_breakdown": metadata["cost_breakdown"],
            "status": "failure" if metadata["error_information"] else "success",
            "custom_llm_provider": row["custom_llm_provider"] or None,
            "total_tokens": row["total_tokens"],
            "prompt_tokens": row["prompt_tokens"],
            "completion_tokens": row["completion_tokens"],
            "startTime": row["startTime"].timestamp(),
            "endTime": row["endTime"].timestamp(),
            "completionStartTime": row["completionStartTime"].timestamp(),
            "response_time": (row["completionStartTime"] - row["startTime"]).total_seconds(),
            "model_map_information": {"model_map_key": row["model"], "model_map_value": None},
            "model": row["model"],
            "model_id": row["model_id"],
            "model_group": row["model_group"] or None,
            "api_base": row["api_base"],
            "metadata": {
                "user_api_key_hash": row["api_key"],
                "user_api_key_alias": metadata["user_api_key_alias"],
                "user_api_key_user_id": row["user"],
                "usage_object": metadata["usage_object"]
                or metadata["additional_usage_values"]
                or None,
            },
            "cache_hit": made.expected["cached"] if made.row["cache_hit"] else None,
            "cache_key": None,
            "saved_cache_cost": 0.0,
            "request_tags": row["request_tags"],
            "end_user": row["end_user"] or None,
            "requester_ip_address": None,
            "messages": [{"role": "user", "content": f"a private question {row['request_id']}"}],
            "response": {
                "choices": [
                    {
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": "private"},
                    }
                ]
            },
            "error_str": None,
            "error_information": metadata["error_information"],
            "model_parameters": {"stream": made.expected["streamed"]},
            "hidden_params": {"model_id": row["model_id"], "litellm_overhead_time_ms": 3.1},
        }
        yield Made(payload, made.expected, made.why)


def as_api(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the proxy's API returns it: times with a zone, JSON as JSON."""
    return {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def as_texts(row: dict[str, Any]) -> dict[str, Any]:
    """A row as `COPY … TO` writes it: times without a zone, JSON as text."""
    return {
        name: f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
        if isinstance(value, datetime)
        else (json.dumps(value) if isinstance(value, dict | list) else value)
        for name, value in row.items()
    }


def write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Rows as `COPY … TO` writes them."""
    with path.open("w", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)


def main() -> None:
    """Write the fixtures."""
    FIXTURES.mkdir(exist_ok=True)
    write_csv(FIXTURES / "litellm_spend_logs.csv", (as_texts(made.row) for made in spend_logs(240)))
    answer = {"data": [as_api(made.row) for made in spend_logs(240)], "total": 240, "page": 1}
    _compressed(FIXTURES / "litellm_spend_logs.json.gz", json.dumps(answer, indent=1))
    # Older versions of the proxy returned metadata as a text.
    lines = (
        as_api(made.row) | {"metadata": json.dumps(made.row["metadata"])}
        for made in spend_logs(240)
    )
    _compressed(
        FIXTURES / "litellm_spend_logs.jsonl.gz", "".join(json.dumps(line) + "\n" for line in lines)
    )
    _compressed(
        FIXTURES / "litellm_payloads.jsonl.gz",
        "".join(json.dumps(made.row) + "\n" for made in payloads(240)),
    )


def _compressed(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
