"""TokenTrimmer's `request_logs`: every row is accounted for."""

from __future__ import annotations

from typing import Any

from tests.logs.generators.calls import Call
from tests.logs.generators.files import FIXTURES
from tests.logs.generators.tokentrimmer import ORG, ROUTE, baseline, requests, routed
from tests.logs.reading import check, plain, read, read_fixture

FILE = "tokentrimmer.csv"


def expected(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "org_id": str(ORG),
        "model": call.model,  # names stay as they are
        "baseline_cost_usd": baseline(call),
        "cached": call.hit,
        "cache_layer": "l1" if call.hit else None,
        "matched_route_id": str(ROUTE) if routed(call) else None,
        "upstream_latency_ms": None if call.hit else call.latency_ms - 2,
        "status": call.status,
        "tag": call.task if call.number % 4 else None,
        "session_id": None,
        "user_id": None,
        "streamed": None,
        "body": None,
        "embedding": None,
    }


def test_every_row_is_accounted_for() -> None:
    rows, report = read_fixture(FILE)
    assert (report.format, report.rows, report.used) == ("tokentrimmer", 240, 240)
    check(rows, requests(), expected)
    assert any(row["baseline_cost_usd"] > row["cost_usd"] == 0 for row in rows)
    assert set(report.ignored_columns) == {"embedding", "created_at"}


def test_input_tokens_include_cached_tokens() -> None:
    rows, _ = read_fixture(FILE)
    by_id = {row["id"]: row for row in rows}
    reads = [call for call in requests() if call.cached]
    assert len(reads) > 20
    for call in reads:
        row = by_id[str(call.id)]
        assert (row["input_tokens"], row["cached_tokens"]) == (call.input, call.cached)


def test_bodies_and_embeddings_are_read_only_on_request() -> None:
    rows, _ = read(FIXTURES / FILE, with_bodies=True, with_embeddings=True)
    by_id = {row["id"]: row for row in rows}
    for call in requests()[:6]:
        row = by_id[str(call.id)]
        assert row["body"] == f'a private question, number {call.number}, with "quotes"\nand lines'
        assert row["embedding"] == (
            [0.5, -0.25, call.number / 256] if call.number % 3 == 0 else None
        )
