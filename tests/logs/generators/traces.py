"""Exports of tracing tools: Phoenix, MLflow, LangSmith, Datadog and Langfuse's older table.

Their counts include everything, except that MLflow passes on Anthropic's input, which leaves out
the cache. Every call has a span around it that repeats its usage, as frameworks write.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tests.logs.generators.calls import Call, calls, lines, zipped


def traced_calls() -> list[Call]:
    return [call for call in calls(220, 20260607) if not call.hit]


def files() -> dict[str, bytes]:
    rows = [span for call in traced_calls() for span in phoenix_rows(call)]
    spans = [span for call in traced_calls() for span in _datadog(call)]
    runs = [run for call in traced_calls() for run in _langsmith(call)]
    return {
        "phoenix-spans.csv.gz": zipped(table(rows)),
        "phoenix-traces.json.gz": zipped(json.dumps([_phoenix_trace(c) for c in traced_calls()])),
        "mlflow-traces.jsonl.gz": zipped(lines(map(_mlflow, traced_calls()))),
        "langsmith-runs.jsonl.gz": zipped(lines(runs)),
        "datadog-spans.json.gz": zipped(json.dumps({"data": spans})),
        "langfuse-generations.csv.gz": zipped(table(map(_generation, traced_calls()))),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV."""
    made = list(rows)
    out = io.StringIO()
    names = dict.fromkeys(name for row in made for name in row)
    writer = csv.DictWriter(out, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    return out.getvalue()


def trace_id(call: Call) -> str:
    return call.id.hex


def span_id(call: Call) -> str:
    return call.id.hex[:15] + "1"


def _parent_id(call: Call) -> str:
    return call.id.hex[:15] + "0"


def _attributes(call: Call) -> dict[str, Any]:
    used = call.status == 200
    counts = {
        "llm.token_count.prompt": call.input if used else None,
        "llm.token_count.completion": call.output if used else None,
        "llm.token_count.total": call.input + call.output if used else None,
        "llm.token_count.prompt_details.cache_read": call.cached if used else None,
        "llm.token_count.prompt_details.cache_write": call.written if used else None,
        "llm.token_count.completion_details.reasoning": call.reasoning if used else None,
    }
    return counts | {
        "llm.model_name": call.model,
        "llm.provider": call.provider,
        "llm.cost.total": float(call.cost) if used else None,
        "llm.finish_reason": call.finish,
        "session.id": call.session,
        "user.id": call.user,
        "metadata.feature": call.task,
        "input.value": "x",
    }


def phoenix_rows(call: Call) -> Iterable[dict[str, Any]]:
    """The rows of Phoenix's data frame."""
    for kind, span, parent in (
        ("CHAIN", _parent_id(call), None),
        ("LLM", span_id(call), _parent_id(call)),
    ):
        attributes = _attributes(call) | {"openinference.span.kind": kind}
        yield {
            "name": "call",
            "span_kind": kind,
            "parent_id": parent,
            "start_time": call.ts.isoformat(" ", timespec="microseconds"),
            "end_time": call.end.isoformat(" ", timespec="microseconds"),
            "status_code": "OK" if call.status == 200 else "ERROR",
            "status_message": None,
            "context.span_id": span,
            "context.trace_id": trace_id(call),
        } | {f"attributes.{key}": value for key, value in attributes.items()}


def _phoenix_trace(call: Call) -> dict[str, Any]:
    """A trace as Phoenix's command line and API write it."""
    spans = []
    for row in phoenix_rows(call):
        attributes = {
            key.removeprefix("attributes."): value
            for key, value in row.items()
            if key.startswith("attributes.") and value is not None
        }
        context = {"trace_id": row["context.trace_id"], "span_id": row["context.span_id"]}
        plain = {key: value for key, value in row.items() if "." not in key}
        spans.append(plain | {"context": context, "attributes": attributes, "events": []})
    return {"traceId": trace_id(call), "status": "OK", "duration": 1, "spans": spans}


def _mlflow(call: Call) -> dict[str, Any]:
    used = call.status == 200
    held = call.cached + call.written if call.provider == "anthropic" else 0
    usage = {
        "input_tokens": call.input - held,
        "output_tokens": call.output,
        "total_tokens": call.input - held + call.output,
        "cache_read_input_tokens": call.cached,
        "cache_creation_input_tokens": call.written,
    }
    named = {"mlflow.llm.model": call.model, "mlflow.llm.provider": call.provider}
    cost = {"mlflow.llm.cost": {"total_cost": float(call.cost)}}
    shared = {"mlflow.chat.tokenUsage": usage} if used else {}
    spans = []
    for span, kind, parent, attributes in (
        (_parent_id(call), "AGENT", None, shared),
        (span_id(call), "CHAT_MODEL", _parent_id(call), shared | named | (cost if used else {})),
    ):
        texts = {"mlflow.spanType": kind, "mlflow.traceRequestId": f"tr-{trace_id(call)}"}
        spans.append(
            {
                "trace_id": trace_id(call),
                "span_id": span,
                "parent_span_id": parent,
                "name": "call",
                "start_time_unix_nano": _nanoseconds(call.ts),
                "end_time_unix_nano": _nanoseconds(call.end),
                "status": {"code": "STATUS_CODE_OK" if used else "STATUS_CODE_ERROR"},
                "attributes": {k: json.dumps(v) for k, v in (texts | attributes).items()},
            }
        )
    info = {
        "trace_id": f"tr-{trace_id(call)}",
        "request_time": call.ts.isoformat(),
        "state": "OK",
        "trace_metadata": {
            "mlflow.trace.session": call.session,
            "mlflow.trace.user": call.user,
        },
        "tags": {"mlflow.traceName": call.task},
    }
    return {"info": info, "data": {"spans": spans}}


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000) * 1_000_000


def _langsmith(call: Call) -> Iterable[dict[str, Any]]:
    used = call.status == 200
    usage = {
        "input_tokens": call.input,
        "output_tokens": call.output,
        "total_tokens": call.input + call.output,
        "input_token_details": {"cache_read": call.cached, "cache_creation": call.written},
        "output_token_details": {"reasoning": call.reasoning},
    }
    metadata = {
        "ls_provider": "google_genai" if call.provider == "google" else call.provider,
        "ls_model_name": call.model,
        "thread_id": call.session,
        "user_id": call.user,
        "feature": call.task,
    }
    for kind, run in (("chain", _parent_id(call)), ("llm", str(call.id))):
        yield {
            "id": run,
            "name": "ChatModel",
            "run_type": kind,
            "start_time": _naive(call.ts),
            "end_time": _naive(call.end),
            "extra": {"metadata": metadata},
            "error": None if used else f"APIError: {call.status} x",
            "status": "success" if used else "error",
            "inputs": {},
            "outputs": {"usage_metadata": usage} if used else None,
            "trace_id": trace_id(call),
            "dotted_order": f"{_naive(call.ts)}Z{run}",
            "prompt_tokens": call.input,
            "completion_tokens": call.output,
            "total_tokens": call.input + call.output,
            "total_cost": str(call.cost) if used else None,
            "first_token_time": _naive(call.first) if call.first else None,
        }


def _naive(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


def _datadog(call: Call) -> Iterable[dict[str, Any]]:
    used = call.status == 200
    metrics = {
        "input_tokens": call.input,
        "output_tokens": call.output,
        "total_tokens": call.input + call.output,
        "cache_read_input_tokens": call.cached,
        "cache_write_input_tokens": call.written,
        "non_cached_input_tokens": call.input - call.cached - call.written,
        "reasoning_output_tokens": call.reasoning,
        "estimated_total_cost": float(call.cost * 10**9),
    }
    for kind, span in (("agent", _parent_id(call)), ("llm", span_id(call))):
        yield {
            "id": span,
            "type": "span",
            "attributes": {
                "duration": call.latency_ms * 1_000_000.0,
                "metrics": metrics if used else {},
                "metadata": {"user_id": call.user},
                "ml_app": "app",
                "model_name": call.model,
                "model_provider": call.provider,
                "name": call.task,
                "parent_id": "undefined",
                "session_id": call.session,
                "span_id": span,
                "span_kind": kind,
                # As the documentation's example has it: milliseconds in a field of nanoseconds.
                "start_ns": round(call.ts.timestamp() * 1000),
                "status": "ok" if used else "error",
                "trace_id": trace_id(call),
            },
        }


def _generation(call: Call) -> dict[str, Any]:
    """A row of Langfuse's older table; every tenth is counted in characters."""
    used = call.status == 200
    begun, ended = (_naive(moment)[:-3] + "Z" for moment in (call.ts, call.end))
    return {
        "id": str(call.id),
        "name": call.task,
        "traceId": trace_id(call),
        "traceName": "call",
        # Some versions write each cell as JSON.
        "startTime": json.dumps(begun) if call.number % 3 == 0 else begun,
        "endTime": json.dumps(ended) if call.number % 3 == 0 else ended,
        "completionStartTime": _naive(call.first)[:-3] + "Z" if call.first else "",
        "timeToFirstToken": "",
        "latency": f"{call.latency_ms / 1000:.2f}",
        "totalCost": call.cost if used else "",
        "level": "DEFAULT" if used else "ERROR",
        "statusMessage": "" if used else f"Error code: {call.status}",
        "model": call.model,
        "modelParameters": "{}",
        "promptTokens": call.input,
        "completionTokens": call.output,
        "totalTokens": call.input + call.output,
        "unit": "CHARACTERS" if call.number % 10 == 0 else "TOKENS",
        "metadata": "{}",
    }
