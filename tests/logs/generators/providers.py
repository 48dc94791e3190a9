"""Logs of providers and gateways: Bedrock, Vertex AI, batch results, Cloudflare and Portkey.

Bedrock and Anthropic count cache reads and writes beside the input; Google counts reasoning beside
the output. Portkey's costs are in cents.
"""

from __future__ import annotations

import json
from typing import Any

from tests.logs.generators.agents import claude_usage
from tests.logs.generators.calls import Call, calls, lines, zipped

REGION, PROFILE = "eu-central-1", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


def provider_calls(provider: str) -> list[Call]:
    made = calls(640, 20260605)
    return [call for call in made if call.provider == provider and not call.hit]


def gateway_calls() -> list[Call]:
    return calls(210, 20260606)


def files() -> dict[str, bytes]:
    entries = [_bedrock(call) for call in provider_calls("anthropic")]
    gateway = [_cloudflare(call) for call in gateway_calls()]
    return {
        "bedrock-s3.json.gz": zipped(lines(entries)),
        "bedrock-cloudwatch.json.gz": zipped(json.dumps({"events": _log_events(entries)})),
        "vertex-logs.jsonl.gz": zipped(lines(map(_vertex, provider_calls("google")))),
        "openai-batch.jsonl.gz": zipped(lines(map(_openai, provider_calls("openai")))),
        "anthropic-batch.jsonl.gz": zipped(lines(map(_anthropic, provider_calls("anthropic")))),
        "cloudflare-logs.json.gz": zipped(json.dumps({"success": True, "result": gateway})),
        "portkey-logs.jsonl.gz": zipped(lines(map(_portkey, gateway_calls()))),
    }


def _bedrock(call: Call) -> dict[str, Any]:
    failed = call.status != 200
    counts = {
        "inputTokenCount": call.input - call.cached - call.written,
        "cacheReadInputTokenCount": call.cached,
        "cacheWriteInputTokenCount": call.written,
    }
    body = {
        "stopReason": call.finish,
        "metrics": {"latencyMs": call.latency_ms},
        "usage": {
            "inputTokens": counts["inputTokenCount"],
            "outputTokens": call.output,
            "totalTokens": call.input + call.output,
            "cacheReadInputTokens": call.cached,
            "cacheWriteInputTokens": call.written,
        },
    }
    entry = {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": call.ts.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "accountId": "111122223333",
        "region": REGION,
        "requestId": str(call.id),
        "operation": "ConverseStream" if call.streamed else "Converse",
        "modelId": f"arn:aws:bedrock:{REGION}:111122223333:inference-profile/{PROFILE}",
        "input": {"inputContentType": "application/json"} | ({} if failed else counts),
        "requestMetadata": {"feature": call.task},
    }
    if failed:
        return entry | {"errorCode": "ThrottlingException"}
    return entry | {"output": {"outputBodyJson": body, "outputTokenCount": call.output}}


def _log_events(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "logStreamName": "aws/bedrock/modelinvocations",
            "timestamp": 1_777_881_600_000 + number,
            "message": json.dumps(entry, separators=(",", ":")),
            "eventId": str(number),
        }
        for number, entry in enumerate(entries)
    ]


def _vertex(call: Call) -> dict[str, Any]:
    name = f"publishers/google/models/{call.model}"
    failed = call.status != 200
    usage = {
        "promptTokenCount": call.input,
        "candidatesTokenCount": call.output - call.reasoning,
        "thoughtsTokenCount": call.reasoning,
        "totalTokenCount": call.input + call.output,
        "cachedContentTokenCount": call.cached,
        "trafficType": "ON_DEMAND_FLEX" if call.number % 3 == 0 else "ON_DEMAND",
    }
    response = {
        "candidates": [{"finishReason": call.finish}],
        "modelVersion": call.model,
        "usageMetadata": usage,
    }
    moment = call.ts.replace(tzinfo=None).isoformat(" ", timespec="microseconds")
    return {
        "endpoint": f"projects/1234/locations/europe-west4/{name}",
        "deployed_model_id": None,
        "logging_time": f"{moment} UTC",
        "request_id": str(call.id.int % 10**18),
        "model": name,
        "model_version": "default",
        "api_method": "StreamGenerateContent" if call.streamed else "GenerateContent",
        # BigQuery exports its JSON columns as text.
        "full_request": json.dumps({"contents": [], "labels": {"feature": call.task}}),
        "full_response": json.dumps({} if failed else response),
        "metadata": json.dumps(
            {"request_latency": call.latency_ms, "error_code": 8 if failed else 0}
        ),
    }


def _openai(call: Call) -> dict[str, Any]:
    usage = {
        "prompt_tokens": call.input,
        "completion_tokens": call.output,
        "total_tokens": call.input + call.output,
        "prompt_tokens_details": {"cached_tokens": call.cached},
        "completion_tokens_details": {"reasoning_tokens": call.reasoning},
    }
    body = {
        "id": f"chatcmpl-{call.number}",
        "created": int(call.ts.timestamp()),
        "model": call.model,
        "choices": [{"index": 0, "finish_reason": call.finish}],
        "usage": usage,
        "service_tier": "default",
    }
    failed = {"error": {"message": "x"}}
    is_done = call.status == 200
    response = {"status_code": call.status, "body": body if is_done else failed}
    named = {"id": f"batch_req_{call.id.hex}", "custom_id": f"row-{call.number}"}
    return named | {"response": response, "error": None}


def _anthropic(call: Call) -> dict[str, Any]:
    message = {
        "id": f"msg_{call.id.hex}",
        "type": "message",
        "model": call.model,
        "content": [],
        "stop_reason": call.finish,
        "usage": claude_usage(call, call.output) | {"service_tier": "batch"},
    }
    done = {"type": "succeeded", "message": message}
    result = done if call.status == 200 else {"type": "errored", "error": {"type": "error"}}
    return {"custom_id": f"row-{call.number}", "result": result}


def _cloudflare(call: Call) -> dict[str, Any]:
    return {
        "id": call.id.hex,
        "created_at": call.ts.replace(tzinfo=None).isoformat(" ", timespec="milliseconds"),
        "provider": "google-ai-studio" if call.provider == "google" else call.provider,
        "model": call.model,
        "request_type": "chat",
        "status_code": call.status,
        "success": call.status == 200,
        "cached": call.hit,
        "duration": call.latency_ms,
        "step": 0,
        "tokens_in": call.input,
        "tokens_out": call.output,
        "cost": float(call.cost),
        "custom_cost": False,
        "metadata": json.dumps({"user": call.user, "feature": call.task}),
    }


def _portkey(call: Call) -> dict[str, Any]:
    usage = {
        "prompt_tokens": call.input,
        "completion_tokens": call.output,
        "total_tokens": call.input + call.output,
        "prompt_tokens_details": {"cached_tokens": call.cached},
        "completion_tokens_details": {"reasoning_tokens": call.reasoning},
    }
    response = {"choices": [{"finish_reason": call.finish}], "usage": usage}
    return {
        "id": str(call.id),
        "trace_id": call.session,
        "created_at": call.ts.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "response": {"body": response} if call.status == 200 else {"body": {"error": "x"}},
        "is_success": int(call.status == 200),
        "ai_org": call.provider,
        "ai_model": call.model,
        "req_units": call.input,
        "res_units": call.output,
        "total_units": call.input + call.output,
        "cost": float(call.cost * 100),
        "cost_currency": "USD",
        "response_time": call.latency_ms,
        "response_status_code": call.status,
        "cache_status": "SEMANTIC HIT" if call.hit else "MISS",
        "stream_mode": str(call.streamed).upper(),
        "metadata": {"_user": call.user, "feature": call.task},
    }
