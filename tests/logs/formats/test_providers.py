"""Logs that providers and gateways write: Bedrock, Vertex AI, batches, Cloudflare, Portkey."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.logs.generators.calls import Call
from tests.logs.generators.files import FIXTURES
from tests.logs.generators.providers import PROFILE, REGION, gateway_calls, provider_calls
from tests.logs.generators.traces import table
from tests.logs.reading import check, counted, plain, read, read_fixture

WITHOUT_COST = {"cost_usd": None, "recorded_cost_usd": None}


def done(provider: str) -> list[Call]:
    return [call for call in provider_calls(provider) if call.status == 200]


def of_bedrock(call: Call) -> dict[str, Any]:
    used = call.status == 200
    return (
        plain(call)
        | WITHOUT_COST
        | {
            "ts": call.ts.replace(microsecond=0),
            "provider": "aws",
            "model": PROFILE,
            "endpoint": REGION,
            "cache_write_tokens": call.written if used else None,
            "latency_ms": call.latency_ms if used else None,
            "status": 200 if used else 429,
            "streamed": call.streamed,
            "session_id": None,
            "user_id": None,
        }
    )


def of_vertex(call: Call) -> dict[str, Any]:
    used = call.status == 200
    return (
        plain(call)
        | WITHOUT_COST
        | {
            "id": str(call.id.int % 10**18),
            "reasoning_tokens": call.reasoning if used else None,
            "service_tier": ("flex" if call.number % 3 == 0 else "standard") if used else None,
            "status": 200 if used else 429,
            "streamed": call.streamed,
            "session_id": None,
            "user_id": None,
        }
    )


def of_openai_batch(call: Call) -> dict[str, Any]:
    return (
        plain(call)
        | WITHOUT_COST
        | {
            "id": f"batch_req_{call.id.hex}",
            "ts": call.ts.replace(microsecond=0),
            "reasoning_tokens": call.reasoning,
            "service_tier": "batch",
            "latency_ms": None,
            "streamed": False,
            "tag": None,
            "session_id": None,
            "user_id": None,
        }
    )


def of_anthropic_batch(call: Call) -> dict[str, Any]:
    unknown = of_openai_batch(call) | {"id": f"msg_{call.id.hex}", "reasoning_tokens": None}
    del unknown["ts"]
    return unknown | {"cache_write_tokens": call.written}


def of_cloudflare(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "id": call.id.hex,
        "cached": call.hit,
        "cache_layer": "l1" if call.hit else None,
        "cached_tokens": 0,
        "streamed": None,
        "session_id": None,
    }


def of_portkey(call: Call) -> dict[str, Any]:
    used = call.status == 200
    return plain(call) | {
        "cached": call.hit,
        "cache_layer": "l2" if call.hit else None,
        "reasoning_tokens": call.reasoning if used else None,
        "streamed": call.streamed,
    }


@pytest.mark.parametrize(
    ("name", "log_format", "calls", "expected", "others"),
    [
        ("bedrock-s3.json.gz", "bedrock", provider_calls("anthropic"), of_bedrock, 0),
        ("bedrock-cloudwatch.json.gz", "bedrock", provider_calls("anthropic"), of_bedrock, 0),
        ("vertex-logs.jsonl.gz", "vertex", provider_calls("google"), of_vertex, 0),
        ("openai-batch.jsonl.gz", "openai_batch", done("openai"), of_openai_batch, 1),
        ("anthropic-batch.jsonl.gz", "anthropic_batch", done("anthropic"), of_anthropic_batch, 1),
        ("cloudflare-logs.json.gz", "cloudflare", gateway_calls(), of_cloudflare, 0),
        ("portkey-logs.jsonl.gz", "portkey", gateway_calls(), of_portkey, 0),
    ],
)
def test_every_row_is_accounted_for(
    name: str,
    log_format: str,
    calls: list[Call],
    expected: Callable[[Call], dict[str, Any]],
    others: int,
) -> None:
    rows, report = read_fixture(name)
    check(rows, calls, expected)
    assert (report.format, report.used) == (log_format, len(calls))
    assert len(counted(report)) == others
    assert sum(counted(report).values()) == report.rows - report.used


@pytest.mark.parametrize(
    ("name", "calls", "expected"),
    [
        ("vertex-logs.jsonl.gz", provider_calls("google"), of_vertex),
        ("cloudflare-logs.json.gz", gateway_calls(), of_cloudflare),
        ("bedrock-s3.json.gz", provider_calls("anthropic"), of_bedrock),
    ],
)
def test_rows_are_read_from_columns(
    name: str, calls: list[Call], expected: Callable[[Call], dict[str, Any]], tmp_path: Path
) -> None:
    text = gzip.decompress((FIXTURES / name).read_bytes()).decode()
    made = json.loads(text)["result"] if name[0] == "c" else map(json.loads, text.splitlines())
    path = tmp_path / "rows.csv"
    path.write_text(
        table(
            {k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in made
        )
    )
    check(read(path)[0], calls, expected)


def test_a_batch_without_times_has_those_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl.gz"
    path.write_bytes((FIXTURES / "anthropic-batch.jsonl.gz").read_bytes())
    moment = datetime(2026, 5, 4, 10, tzinfo=UTC)
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    rows, report = read(path)
    assert {row["ts"] for row in rows} == {moment}
    assert report.assumed["ts"] == "the time of the file, since its rows say none"


def test_results_of_logs_insights_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    events = json.loads(gzip.decompress((FIXTURES / "bedrock-cloudwatch.json.gz").read_bytes()))
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(("@timestamp", "@message"))
        writer.writerows((event["timestamp"], event["message"]) for event in events["events"])
        writer.writerow((0, "START"))
    rows, report = read(path)
    check(rows, provider_calls("anthropic"), of_bedrock)
    assert counted(report) == {"an entry that is not of a model's invocation": 1}


def test_a_log_event_of_something_else_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    entry = (
        '{"schemaType":"ModelInvocationLog","timestamp":"2026-05-11T00:38:01Z","requestId":"r",'
        '"operation":"InvokeModel","modelId":"anthropic.claude-sonnet-4-5-20250929-v1:0",'
        '"input":{"inputTokenCount":3},"output":{"outputTokenCount":5,"outputBodyJson":'
        '{"usage":{"input_tokens":3,"output_tokens":5,"cache_creation_input_tokens":9,'
        '"cache_creation":{"ephemeral_1h_input_tokens":9}}}}}'
    )
    path.write_text(f'{entry}\n{{"message":"START"}}\n')
    ((row,), report) = read(path)
    assert (row["input_tokens"], row["cache_write_1h_tokens"]) == (12, 9)
    assert counted(report) == {"an entry that is not of a model's invocation": 1}
