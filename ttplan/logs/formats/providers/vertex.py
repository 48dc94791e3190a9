"""Vertex AI's request and response logging: the table in BigQuery, exported as JSON, CSV, Parquet.

`promptTokenCount` includes cached tokens; the prompts of tools are beside it, and thoughts are
beside `candidatesTokenCount`. Claude's responses have Anthropic's usage.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_CODES = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 13: 500, 14: 503, 16: 401}
"""HTTP statuses of gRPC's codes."""


def _status(find: FindText) -> str:
    code = find("metadata.error_code")
    known = " ".join(f"WHEN '{code}' THEN '{status}'" for code, status in _CODES.items())
    return (
        f"CASE coalesce({code}, '0') WHEN '0' THEN '200' {known}"
        f" ELSE CASE WHEN TRY_CAST({code} AS INTEGER) >= 400 THEN {code} ELSE '500' END END"
    )


FORMAT = Format(
    title="Vertex AI request-response logs (BigQuery)",
    mapping=FormatMapping.model_validate(
        {
            "name": "vertex",
            "documents": ["full_request", "full_response", "metadata"],
            "fields": {
                "id": "request_id",
                "ts": {"path": "logging_time", "unit": "iso_utc"},
                "provider": {"constant": "vertex_ai"},
                "model": ["model", "endpoint"],
                "resolved_model": ["full_response.modelVersion", "full_response.model"],
                **FROM_USAGE,
                "provider_usage": ["full_response.usageMetadata", "full_response.usage"],
                "latency_ms": {"path": "metadata.request_latency", "unit": "ms"},
                "streamed": {
                    "path": "api_method",
                    "values": {
                        "StreamGenerateContent": True,
                        "StreamRawPredict": True,
                        "GenerateContent": False,
                        "RawPredict": False,
                        "Predict": None,
                        "ChatCompletions": None,
                    },
                },
                "finish_reason": [
                    "full_response.candidates[0].finishReason",
                    "full_response.stop_reason",
                ],
                "tag": ["full_request.labels.tag", "full_request.labels.feature"],
                "body": "full_request",
                "response_body": "full_response",
            },
        }
    ),
    signature=Signature.of(
        required="endpoint logging_time request_id model api_method full_response",
        typical="deployed_model_id model_version full_request request_payload metadata",
    ),
    rules={"status": _status},
)
