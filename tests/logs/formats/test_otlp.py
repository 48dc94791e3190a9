"""OpenTelemetry's GenAI spans, with current and older attribute names."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.logs.generators.calls import Call
from tests.logs.generators.files import FIXTURES
from tests.logs.generators.otlp import has_disjoint_counts, older, priced, requests
from tests.logs.reading import check, plain, read, read_fixture, read_row
from ttplan.model.errors import InputError


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def document(values: dict[str, Any], **span: Any) -> dict[str, Any]:
    """A document with one span that has these attributes."""
    times = {"startTimeUnixNano": "1777852800000000000", "endTimeUnixNano": "1777852801500000000"}
    whole = {
        "traceId": "ab",
        "spanId": "cd",
        "kind": 3,
        **times,
        "attributes": attributes(values),
    } | span
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [whole]}]}]}


CALL: dict[str, Any] = {
    "gen_ai.operation.name": {"stringValue": "chat"},
    "gen_ai.provider.name": {"stringValue": "openai"},
    "gen_ai.request.model": {"stringValue": "gpt-4o"},
    "gen_ai.usage.input_tokens": {"intValue": "100"},
    "gen_ai.usage.output_tokens": {"intValue": "20"},
}


def expected(call: Call) -> dict[str, Any]:
    failed = call.status != 200
    cost = call.cost if priced(call) and not failed else Decimal(0) if failed else None
    return plain(call) | {
        "id": f"{call.id.hex}/{call.id.int >> 68:015x}0",
        "cost_usd": cost,
        "recorded_cost_usd": cost,
        "status": 200 if not failed else call.status if call.number % 2 else 500,
        "finish_reason": None if failed else call.finish,
        "reasoning_tokens": call.reasoning or None,
        "cache_write_tokens": call.written or None,
        "service_tier": "priority"
        if not older(call) and not failed and call.provider == "openai" and call.number % 8 == 0
        else None,
        "streamed": call.streamed if older(call) else True if call.first else None,
        "user_id": None if older(call) else call.user,
        "tag": TagOf(),
    }


class TagOf:
    """Equal to the name of either service."""

    def __eq__(self, other: object) -> bool:
        return other in ("shop", "support")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", ["otlp-collector.jsonl", "otlp.json.gz"])
def test_every_span_is_accounted_for(name: str) -> None:
    rows, report = read_fixture(name)
    assert (report.format, report.used, report.unusable) == ("otlp", len(requests()), 0)
    others = {skipped.reason: skipped.rows for skipped in report.not_requests}
    assert others == {
        "a span of an agent, a tool or the like, not of a call of a model": sum(
            (c.number % 9 == 0) + (c.number % 10 == 0) for c in requests()
        ),
        "a span that names no model": sum(c.number % 6 == 0 for c in requests()),
    }
    assert report.rows == report.used + sum(others.values()) >= 200
    check(rows, requests(), expected)


def test_counts_include_cache_and_reasoning(
    tmp_path: Path,
) -> None:
    values = CALL | {
        "gen_ai.usage.cache_read.input_tokens": {"intValue": "60"},
        "gen_ai.usage.cache_creation.input_tokens": {"intValue": "30"},
        "gen_ai.usage.reasoning.output_tokens": {"intValue": "15"},
        "gen_ai.usage.audio.input_tokens": {"intValue": "4"},
        "gen_ai.usage.image.output_tokens": {"intValue": "2"},
    }
    row = read_row(tmp_path, document(values))
    assert {name: value for name, value in row.items() if name.endswith("tokens")} == {
        "input_tokens": 100,
        "cached_tokens": 60,
        "cache_write_tokens": 30,
        "cache_write_1h_tokens": None,
        "output_tokens": 20,
        "reasoning_tokens": 15,
        "input_audio_tokens": 4,
        "output_audio_tokens": None,
        "input_image_tokens": None,
        "output_image_tokens": 2,
    }


def test_parts_greater_than_the_whole_are_added(tmp_path: Path) -> None:
    older_ones = {
        "gen_ai.usage.prompt_tokens": {"intValue": "10"},
        "gen_ai.usage.completion_tokens": {"intValue": "20"},
        "gen_ai.usage.cache_read_input_tokens": {"intValue": "900"},
        "gen_ai.usage.cache_creation_input_tokens": {"intValue": "300"},
        "gen_ai.usage.reasoning_tokens": {"intValue": "70"},
        "gen_ai.system": {"stringValue": "Anthropic"},
        "gen_ai.request.model": {"stringValue": "claude-haiku-4-5"},
    }
    row = read_row(tmp_path, document(older_ones))
    assert (row["input_tokens"], row["cached_tokens"], row["cache_write_tokens"]) == (
        1210,
        900,
        300,
    )
    assert (row["output_tokens"], row["reasoning_tokens"]) == (90, 70)
    assert any(has_disjoint_counts(call) for call in requests())


@pytest.mark.parametrize(
    "value",
    [{"intValue": "100"}, {"intValue": 100}, {"doubleValue": 100.0}, {"stringValue": "100"}],
    ids=["text", "number", "double", "string"],
)
def test_values_of_every_type_are_unwrapped(tmp_path: Path, value: dict[str, Any]) -> None:
    assert (
        read_row(tmp_path, document(CALL | {"gen_ai.usage.input_tokens": value}))["input_tokens"]
        == 100
    )


def test_the_usage_is_kept_as_logged(tmp_path: Path) -> None:
    row = read_row(tmp_path, document(CALL))
    assert json.loads(row["provider_usage"]) == {
        "gen_ai.usage.input_tokens": "100",
        "gen_ai.usage.output_tokens": "20",
    }


@pytest.mark.parametrize(
    ("attribute", "status", "expected_status"),
    [
        ({}, {}, 200),
        ({}, {"code": 1}, 200),
        ({}, {"code": 2}, 500),
        ({}, {"code": "STATUS_CODE_ERROR"}, 500),
        ({"error.type": {"stringValue": "429"}}, {"code": 2}, 429),
        ({"error.type": {"stringValue": "timeout"}}, {}, 500),
        (
            {"error.type": {"stringValue": "x"}, "http.response.status_code": {"intValue": "503"}},
            {},
            503,
        ),
    ],
)
def test_the_status_is_read_from_the_error(
    tmp_path: Path, attribute: Any, status: Any, expected_status: int
) -> None:
    assert (
        read_row(tmp_path, document(CALL | attribute, status=status))["status"] == expected_status
    )


def test_bodies_are_read_only_on_request(tmp_path: Path) -> None:
    spans = document(CALL | {"gen_ai.input.messages": {"stringValue": "[secret]"}})
    assert read_row(tmp_path, spans)["body"] is None
    assert read_row(tmp_path, spans, with_bodies=True)["body"] == "[secret]"


def test_spans_of_the_first_protocol_version_are_read(tmp_path: Path) -> None:
    export = document(CALL)
    spans = export["resourceSpans"][0].pop("scopeSpans")
    export["resourceSpans"][0]["instrumentationLibrarySpans"] = spans
    assert read_row(tmp_path, export)["input_tokens"] == 100


def test_a_malformed_attribute_affects_only_its_span(tmp_path: Path) -> None:
    twice = document(CALL)
    twice["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] += [
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}},
        {"key": None, "value": {"intValue": "7"}},
        {"key": 'a"b', "value": {}},
        {"value": None},
        "no pair",
    ]
    assert read_row(tmp_path, twice)["input_tokens"] in (7, 100)
    wrong = document(CALL | {"gen_ai.usage.input_tokens": {"intValue": "-1"}})
    with pytest.raises(InputError, match=r"(?s)input_tokens: expected.*'-1'"):
        read_row(tmp_path, wrong)
    path = tmp_path / "both.jsonl"
    path.write_text(f"{json.dumps(wrong)}\n{json.dumps(document(CALL))}\n")
    rows, report = read(path, on_bad_rows="skip")
    assert (len(rows), report.unusable) == (1, 1)


def test_a_document_and_lines_have_the_same_spans(tmp_path: Path) -> None:
    paths = (tmp_path / "otlp.json", FIXTURES / "otlp-collector.jsonl")
    paths[0].write_bytes(gzip.decompress((FIXTURES / "otlp.json.gz").read_bytes()))
    whole, lines = ({row["id"]: row | {"tag": None} for row in read(path)[0]} for path in paths)
    assert whole == lines


VOCABULARIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "OpenInference": (
        {
            "llm.model_name": "gpt-4o",
            "llm.provider": "openai",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 20,
            "llm.token_count.prompt_details.cache_read": 60,
            "llm.token_count.completion_details.reasoning": 8,
            "llm.cost.total": 0.5,
        },
        {"cached_tokens": 60, "reasoning_tokens": 8, "cost_usd": Decimal("0.5")},
    ),
    "AI SDK": (
        {
            "ai.model.id": "gpt-4o",
            "ai.model.provider": "openai.chat",
            "ai.usage.promptTokens": 100,
            "ai.usage.completionTokens": 20,
            "ai.usage.cachedInputTokens": 60,
            "ai.usage.reasoningTokens": 8,
            "ai.response.finishReason": "stop",
        },
        {"cached_tokens": 60, "reasoning_tokens": 8, "finish_reason": "stop"},
    ),
    "Strands": (
        {
            "gen_ai.system": "strands-agents",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 30,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.total_tokens": 120,
            "gen_ai.usage.cache_read_input_tokens": 60,
            "gen_ai.usage.cache_write_input_tokens": 10,
        },
        {"cached_tokens": 60, "cache_write_tokens": 10},
    ),
    "Traceloop": (
        {
            "gen_ai.system": "OpenAI",
            "traceloop.span.kind": "llm",
            "gen_ai.response.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 100,
            "llm.usage.completion_tokens": 20,
            "llm.usage.total_tokens": 120,
            "gen_ai.completion.0.finish_reason": "length",
        },
        {"finish_reason": "length"},
    ),
    "Langfuse": (
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.usage_details": json.dumps(
                {"input": 40, "input_cached_tokens": 60, "output": 20, "total": 120}
            ),
            "langfuse.observation.cost_details": '{"total": 0.25}',
            "langfuse.session.id": "s",
        },
        {"cached_tokens": 60, "cost_usd": Decimal("0.25"), "session_id": "s"},
    ),
    "Logfire": (
        {
            "gen_ai.system": "openai",
            "gen_ai.response.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.details.cache_read_tokens": 60,
            "gen_ai.usage.details.reasoning_tokens": 8,
            "operation.cost": 0.125,
            "gen_ai.response.finish_reasons": '["stop"]',
        },
        {"cached_tokens": 60, "reasoning_tokens": 8, "finish_reason": "stop"},
    ),
    "MLflow": (
        {
            "mlflow.llm.model": '"gpt-4o"',
            "mlflow.llm.provider": '"openai"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 100, "output_tokens": 20}',
            "gen_ai.response.finish_reason": '"stop"',
        },
        {"finish_reason": "stop"},
    ),
}


def typed(values: dict[str, Any]) -> dict[str, Any]:
    """Attributes of these values, as OTLP writes them."""
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    return {key: {kinds[type(value)]: value} for key, value in values.items()}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_each_vocabulary_is_read(tmp_path: Path, name: str) -> None:
    values, fields = VOCABULARIES[name]
    row = read_row(tmp_path, document(typed(values)))
    assert (row["provider"], row["model"]) == ("openai", "gpt-4o")
    assert (row["input_tokens"], row["output_tokens"]) == (100, 20)
    assert {key: row[key] for key in fields} == fields


def test_usage_repeated_further_up_counts_once(tmp_path: Path) -> None:
    export = document(CALL)
    spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    step = {"spanId": "s", "parentSpanId": "root", "attributes": []}
    spans[0] |= {"parentSpanId": "s"}
    spans[:0] = [spans[0] | {"spanId": "root", "parentSpanId": ""}, spans[0] | step]
    (tmp_path / "spans.jsonl").write_text(json.dumps(export) + "\n" + json.dumps(document(CALL)))
    rows, report = read(tmp_path / "spans.jsonl")
    assert [row["source_id"] for row in rows] == ["ab/cd", "ab/cd"]
    assert [skipped.rows for skipped in report.not_requests] == [1, 1]
