"""Drafted mappings of logs in the shapes that other tools write: each reads its file rightly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.logs.reading import Rows, read
from tests.paths import TESTS
from ttplan.cli.entrypoint import run
from ttplan.logs.mapping.decide import latency_unit, token_sources
from ttplan.logs.mapping.inspect import Inspection, inspect_file
from ttplan.logs.mapping.sample import KeySummary, SampledRows

SHAPES = TESTS / "data" / "logs"
COUNTS = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")


@cache
def drafted(path: Path) -> tuple[Inspection, Rows, dict[str, int]]:
    """The inspection of a file, the rows that its draft reads, and what it leaves out."""
    inspection = inspect_file(path)
    assert inspection.problem is None
    rows, report = read(path, mapping=inspection.mapping)
    assert (len(rows), report.passed_over) == (inspection.usable, inspection.not_requests)
    return inspection, rows, {skipped.reason: skipped.rows for skipped in report.not_requests}


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        (
            "cursor/usage.csv",
            [(100_000, 0, 0, 10_000), (90_473, 68_608, 21_865, 3043), (48_000, 40_000, 5000, 1200)],
        ),
        (
            "bedrock/invocations.json.gz",
            [
                (13_244, 13_216, 25, 12),
                (8270, 7917, 350, 442),
                (4, 0, 0, 38),
                (0, 0, None, 0),
                (250, 0, None, 0),
            ],
        ),
        (
            "vertex/request_response_logging.jsonl",
            [(10_000, 8000, None, 2000), (361, 0, None, 53), (1200, 0, None, 100)],
        ),
        ("mlflow/trace.json", [(10_900, 10_000, None, 60), (300, 0, None, 30)]),
        ("claude_code_otel/logs.jsonl", [(12_345, 9493, 2849, 527), (1200, 0, 0, 90)]),
        (
            "phoenix/spans.csv",
            [(3000, 2048, None, 500), (8270, 7917, 350, 442), (900, 0, None, 50)],
        ),
        (
            "phoenix/spans.parquet",
            [(3000, 2048, None, 500), (8270, 7917, 350, 442), (900, 0, None, 50)],
        ),
        ("phoenix/dotted.csv", [(10, 0, None, 5)] * 2),
        ("phoenix/dotted.jsonl", [(10, 0, None, 5)]),
        ("opencode/messages.jsonl", [(12_345, 9493, 2849, 527), (1200, 0, 0, 660), (0, 0, 0, 0)]),
        ("azure/apim_llm.csv", [(1000 + n, 0, None, 200) for n in range(6)]),
    ],
)
def test_tokens_are_counted_whole(file: str, counts: list[tuple[int, ...]]) -> None:
    _, rows, _ = drafted(SHAPES / file)
    assert [tuple(row[name] for name in COUNTS) for row in rows] == counts


@pytest.mark.parametrize(
    ("file", "field", "values"),
    [
        ("cursor/usage.csv", "cost_usd", ["0.23", "0.06", "0.5"]),
        ("cloudflare/logs.json", "latency_ms", [731] * 5),
        ("cloudflare/logs.json", "cached", [False, True, False, False, False]),
        ("cloudflare/logs.json", "status", [200, 200, 200, 500, 200]),
        ("cloudflare/logs.json", "cost_usd", ["0.00036", 0, "0.0075", 0, "0.00001"]),
        ("vertex/request_response_logging.jsonl", "service_tier", [None, "flex", None]),
        ("vertex/request_response_logging.jsonl", "provider", ["google"] * 3),
        ("vertex/request_response_logging.jsonl", "reasoning_tokens", [1600, None, 20]),
        ("mlflow/trace.json", "model", ["claude-sonnet-4-5"] * 2),
        ("mlflow/trace.json", "latency_ms", [1500] * 2),
        ("claude_code_otel/logs.jsonl", "cost_usd", ["0.0216363", "0.00165"]),
        ("claude_code_otel/logs.jsonl", "latency_ms", [8399, 1200]),
        ("phoenix/spans.csv", "latency_ms", [2500] * 3),
        ("openai_batch/batch_output.jsonl", "service_tier", ["batch"] * 8),
        ("bedrock/invocations.json.gz", "status", [200, 200, 200, 500, 200]),
        ("bedrock/invocations.json.gz", "provider", ["aws"] * 5),
        ("opencode/messages.jsonl", "status", [200, 200, 500]),
        ("opencode/messages.jsonl", "latency_ms", [8500, 3000, None]),
        ("phoenix/dotted.csv", "source_id", ["1", "2"]),
    ],
)
def test_units_and_words_are_read(file: str, field: str, values: list[Any]) -> None:
    _, rows, _ = drafted(SHAPES / file)
    expected = [Decimal(v) if field == "cost_usd" else v for v in values]
    assert [row[field] for row in rows] == expected


@pytest.mark.parametrize(
    ("file", "left_out"),
    [
        ("cursor/usage.csv", {"its Kind is one without an amount": 3}),
        ("mlflow/trace.json", {"its spanType is that of no request": 1}),
        ("claude_code_otel/logs.jsonl", {"its name is that of no request": 3}),
        ("phoenix/spans.parquet", {"its span_kind is that of no request": 2}),
        ("new_api/logs.csv", {"its type is that of no request": 1}),
        ("azure/apim_llm.csv", {"it names no model": 2}),
        ("opencode/messages.jsonl", {"its role is that of no request": 1}),
    ],
)
def test_rows_that_are_no_requests_are_left_out(file: str, left_out: dict[str, int]) -> None:
    assert drafted(SHAPES / file)[2] == left_out


def test_quota_units_are_read_with_their_factor() -> None:
    inspection, rows, _ = drafted(SHAPES / "new_api" / "logs.csv")
    assert inspection.mapping["fields"]["latency_ms"] == {"path": "use_time", "unit": "s"}
    assert rows[0]["cost_usd"] == Decimal("0.007196")
    assert (rows[0]["cached_tokens"], rows[0]["streamed"]) == (1024, True)


def test_what_is_missing_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": "a", "model": "gpt-4o", "prompt_tokens": 7}\n')
    assert run(["inspect", str(path)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(
        "The mapping does not work yet: no key of the file is likely to be ts or output_tokens."
    )


def test_a_known_format_needs_no_draft_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    path = SHAPES / "openai_batch" / "anthropic_batch_results.jsonl"
    assert run(["inspect", str(path)]) == 0
    assert "The file needs no mapping; the drafted one" in " ".join(capsys.readouterr().out.split())


CALL: dict[str, Any] = {
    "id": "",
    "created": "2026-05-04T08:00:00Z",
    "model": "gpt-4o",
    "prompt_tokens": 1000,
    "completion_tokens": 100,
}


def calls(path: Path, *changes: dict[str, Any]) -> Path:
    return write_csv(path, [CALL | {"id": f"r{n}"} | change for n, change in enumerate(changes)])


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"created": "31/05/2026 08:00:00"}, "ts", "2026-05-31 08:00:00+00:00"),
        ({"created": "5/31/2026, 8:00:00 AM"}, "ts", "2026-05-31 08:00:00+00:00"),
        ({"created": '"2026-05-31T08:00:00.000Z"'}, "ts", "2026-05-31 08:00:00+00:00"),
        ({"created": "2026-05-31 08:00:00 UTC"}, "ts", "2026-05-31 08:00:00+00:00"),
        ({"took": "3.2s", "elapsed": "3.2s"}, "latency_ms", "3200"),
        ({"latency": "850"}, "latency_ms", "850"),
        ({"latency": "3"}, "latency_ms", "3000"),
        ({"duration_us": "850000"}, "latency_ms", "850"),
        ({"latency": "", "end_time": "2026-05-04T08:00:02Z"}, "latency_ms", "2000"),
        ({"cost": "$1,000.50"}, "cost_usd", "1000.500000000000"),
        # List price 0.0035 USD.
        ({"cost": "0.35"}, "cost_usd", "0.003500000000"),
        ({"cost": "3500"}, "cost_usd", "0.003500000000"),
        ({"cost": "3500000"}, "cost_usd", "0.003500000000"),
        ({"cost": "0.0028"}, "cost_usd", "0.002800000000"),
        ({"input_cost": "0.0025", "output_cost": "0.001"}, "cost_usd", "0.003500000000"),
        ({"cost_cents": "0.4"}, "cost_usd", "0.004000000000"),
        ({"cost_nanos": "3000000"}, "cost_usd", "0.003000000000"),
        ({"prompt_tokens": "1,000"}, "input_tokens", "1000"),
        ({"stream": "t"}, "streamed", "None"),
        ({"success": "False"}, "status", "500"),
        ({"state": "failed"}, "status", "500"),
        ({"cached_input_tokens": 4000}, "input_tokens", "5000"),
        ({"cached_input_tokens": 400}, "input_tokens", "1000"),
        ({"cached_input_tokens": 400, "total_tokens": 1500}, "input_tokens", "1400"),
        ({"thinking_tokens": 40, "total_tokens": 1140}, "output_tokens", "140"),
        ({"thinking_tokens": 40, "total_tokens": 1100}, "output_tokens", "100"),
        ({"completion_tokens": "", "total_tokens": 1100}, "output_tokens", "100"),
    ],
)
def test_the_sample_decides_what_names_leave_open(
    tmp_path: Path, change: dict[str, Any], field: str, value: str
) -> None:
    _, rows, _ = drafted(calls(tmp_path / "calls.csv", *[change] * 3))
    assert {str(row[field]) for row in rows} == {value}


def test_rows_without_an_id_get_one_of_their_columns(tmp_path: Path) -> None:
    rows = [{"trace_id": f"t{n // 2}", "span_id": f"s{n % 2}", **CALL, "id": ""} for n in range(4)]
    inspection, read_rows, _ = drafted(write_csv(tmp_path / "log.csv", rows))
    assert inspection.mapping["fields"]["id"] == {"join": ["span_id", "trace_id"]}
    assert len({row["source_id"] for row in read_rows}) == 4


@pytest.mark.parametrize("key", ["type", "run_type", "span_kind", "attributes.kind"])
def test_parents_that_repeat_usage_are_left_out(tmp_path: Path, key: str) -> None:
    parent = {key: "chain"}
    path = calls(tmp_path / "runs.csv", parent, {key: "llm"}, {key: "llm"}, {key: "tool"})
    _, rows, left_out = drafted(path)
    assert (len(rows), sum(left_out.values())) == (2, 2)


def test_characters_are_not_tokens(tmp_path: Path) -> None:
    path = calls(tmp_path / "log.csv", {"unit": "TOKENS"}, {"unit": "CHARACTERS"})
    _, rows, left_out = drafted(path)
    assert (len(rows), left_out) == (1, {"it does not count tokens": 1})


def test_json_in_a_text_is_looked_into(tmp_path: Path) -> None:
    inner = {"usage": json.dumps({"prompt_tokens": 7, "completion_tokens": 2}), "model": "gpt-4o"}
    line = {"call": {"id": "a", "at": 1777636800, "data": json.dumps(inner)}}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(line) + "\n")
    inspection, rows, _ = drafted(path)
    assert inspection.mapping["documents"] == ["call.data", "call.data.usage"]
    assert (rows[0]["input_tokens"], rows[0]["output_tokens"]) == (7, 2)


@pytest.mark.parametrize("wrap", [lambda x: {"value": x}, lambda x: {"value": {"stringValue": x}}])
def test_key_value_lists_are_looked_into(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    values = CALL | {"id": "a", "gen_ai.system": "openai"}
    pairs = [{"name": key, **wrap(str(value))} for key, value in values.items()]
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"batches": [{"spans": [{"tags": pairs}]}]}))
    inspection, rows, _ = drafted(path)
    assert inspection.rows == "batches[*].spans[*]"
    assert (rows[0]["source_id"], rows[0]["input_tokens"]) == ("a", 1000)


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 5000, '"' * 10, "\\", '{"": {"": 1}}'])
def test_hostile_texts_are_only_texts(tmp_path: Path, text: str) -> None:
    _, rows, _ = drafted(calls(tmp_path / "log.csv", {"note": text}, {"note": ""}))
    assert len(rows) == 2


def test_hostile_keys_and_lists_are_bounded(tmp_path: Path) -> None:
    row = {"id": "a", "tags": [{"key": f"k{n}" * 50, "value": n} for n in range(500)]}
    many = {f"key{n}": {'x"]. DROP': n} for n in range(3000)}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row | many) + "\n")
    inspection = inspect_file(path)
    assert (len(inspection.seen), inspection.works) == (2000, False)
    assert len(str(inspection).splitlines()) < 100


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(*[st.integers(1, 10**6)] * 4), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_a_total_tells_which_counts_are_beside(
    counts: list[tuple[int, ...]], beside: bool, apart: bool
) -> None:
    rows = []
    for new, cached, answer, thought in counts:
        whole, output = new + cached, answer + thought
        rows.append(
            {
                "in": new if beside else whole,
                "cached": cached,
                "out": answer if apart else output,
                "thought": thought,
                "total": whole + output,
            }
        )
    paths = {
        "input_tokens": "in",
        "cached_tokens": "cached",
        "output_tokens": "out",
        "reasoning_tokens": "thought",
        "total_tokens": "total",
    }
    sources = token_sources(SampledRows("", rows, {}, ()), paths)
    wholes = {
        ("input_tokens", "in"): [count[0] + count[1] for count in counts],
        ("output_tokens", "out"): [count[2] + count[3] for count in counts],
    }
    for (field, source), expected in wholes.items():
        keys = sources.get(field, {"sum": [source]})["sum"]
        assert [sum(row[key] for key in keys) for row in rows] == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("seconds", [0.02, 1, 90])
def test_times_of_a_row_tell_the_unit(unit: str, seconds: float) -> None:
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    rows = [{"a": 1777636800, "b": 1777636800 + seconds, "took": seconds * scale * 0.9}] * 3
    keys = {
        name: KeySummary(name, 3, 1, ("number",), str(rows[0][name]), str(rows[0][name]))
        for name in ("a", "b", "took")
    }
    sample = SampledRows("", rows, keys, ())
    assert latency_unit("took", sample, {"ts": "a", "end": "b"}) == unit
