"""LiteLLM's standard logging payload, as its callbacks (S3, GCS, a generic API, a file) write it.

It is one JSON object per request. Counts are as in `litellm`; times are seconds since 1970. The
cost is `response_cost`.
"""

from __future__ import annotations

from ttplan.logs.format import Format, Signature
from ttplan.logs.formats import litellm
from ttplan.logs.mapping.mapping import FormatMapping

_SPEND_LOGS = litellm.MAPPING.model_dump(by_alias=True, exclude_defaults=True)
MAPPING = FormatMapping.model_validate(
    {
        "name": "litellm_payload",
        "rows": ["", "data[*]"],
        "blank_is_missing": True,
        "parts": {"usage": ["metadata.usage_object", "response.usage"]},
        "fields": _SPEND_LOGS["fields"]
        | {
            "id": "id",
            "ts": {"path": "startTime", "unit": "epoch_s"},
            "cost_usd": "response_cost",
            "cached": {"path": "cache_hit", "default": False},
            "latency_ms": {"start": "startTime", "end": "endTime", "unit": "epoch_s"},
            "session_id": "trace_id",
            "user_id": [
                "end_user",
                "metadata.user_api_key_end_user_id",
                "metadata.user_api_key_user_id",
            ],
            "api_key_id": "metadata.user_api_key_hash",
            "streamed": "stream",
            "service_tier": ["usage.service_tier", "model_parameters.service_tier"],
            "body": {"path": "messages", "values": {"{}": None, "[]": None}},
        },
        "skip": _SPEND_LOGS["skip"],
    }
)
FORMAT = Format(
    title="LiteLLM's standard logging payload",
    mapping=MAPPING,
    signature=Signature.of(
        required="id startTime endTime response_cost prompt_tokens completion_tokens model",
        typical="call_type trace_id hidden_params model_map_information saved_cache_cost"
        " model_parameters",
    ),
    rules={
        "status": litellm.status,
        "provider": litellm.provider_by("model_map_information.model_map_value.litellm_provider"),
        "tag": litellm.tag,
    },
)
