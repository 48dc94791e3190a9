"""Cloudflare AI Gateway's logs (its API), and Portkey's log export (JSON lines).

Both have the provider's counts of tokens, which include everything, and no parts of them. Portkey's
costs are in cents; if the response is exported, too, its usage has the parts.
"""

from __future__ import annotations

from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping


def _cloudflare_status(find: FindText) -> str:
    failed = f"{find('success')} = 'false'"
    return f"coalesce({find('status_code')}, CASE WHEN {failed} THEN '500' ELSE '200' END)"


CLOUDFLARE = Format(
    title="Cloudflare AI Gateway logs",
    mapping=FormatMapping.model_validate(
        {
            "name": "cloudflare",
            "rows": ["", "result[*]"],
            "blank_is_missing": True,
            "documents": ["metadata"],
            "fields": {
                "id": "id",
                "ts": {"path": "created_at", "unit": "iso_utc"},
                "provider": {"path": "provider", "default": "unknown"},
                "model": "model",
                "input_tokens": {"path": "tokens_in", "default": 0},
                "output_tokens": {"path": "tokens_out", "default": 0},
                "cost_usd": "cost",
                "cached": {"path": "cached", "default": False},
                "latency_ms": {"path": "duration", "unit": "ms"},
                "tag": ["metadata.tag", "metadata.feature", "metadata.app"],
                "session_id": ["metadata.session_id", "metadata.session"],
                "user_id": ["metadata.user_id", "metadata.user"],
            },
        }
    ),
    signature=Signature.of(
        required="id created_at provider model tokens_in tokens_out duration cached",
        typical="success custom_cost step request_type status_code",
    ),
    rules={
        "status": _cloudflare_status,
        "cache_layer": lambda find: (
            f"CASE WHEN TRY_CAST({find('cached')} AS BOOLEAN) THEN 'l1' END"
        ),
    },
)


def _portkey_status(find: FindText) -> str:
    failed = f"{find('is_success')} IN ('0', 'false')"
    return f"coalesce({find('response_status_code')}, CASE WHEN {failed} THEN '500' END, '200')"


def _portkey_hit(find: FindText) -> str:
    return f"coalesce({find('cache_status')} LIKE '%HIT', FALSE)"


_RESPONSE = ("response", '"response.body"', "response.body")
PORTKEY = Format(
    title="Portkey logs",
    mapping=FormatMapping.model_validate(
        {
            "name": "portkey",
            "rows": ["", "data[*]"],
            "blank_is_missing": True,
            "documents": ["request", "response", "request.body", "response.body", "metadata"],
            "fields": {
                "id": ["id", "trace_id"],
                "ts": {"path": "created_at", "unit": "iso_utc"},
                "provider": {"path": "ai_org", "default": "unknown"},
                "model": "ai_model",
                "input_tokens": {"path": "req_units", "default": 0},
                "output_tokens": {"path": "res_units", "default": 0},
                "total_tokens": "total_units",
                "provider_usage": [f"{path}.usage" for path in _RESPONSE],
                "cost_usd": {"path": "cost", "unit": "cents"},
                "latency_ms": {"path": "response_time", "unit": "ms"},
                "streamed": {"path": ["stream_mode", "is_stream"]},
                "finish_reason": [f"{path}.choices[0].finish_reason" for path in _RESPONSE],
                "tag": ["metadata.tag", "metadata.feature", "metadata.app", "prompt_slug"],
                "session_id": ["metadata.session_id", "trace_id"],
                "user_id": ["metadata._user", "metadata.user"],
                "api_key_id": "virtual_key",
                "body": ["request", '"request.body"'],
                "response_body": list(_RESPONSE),
            },
        }
    ),
    signature=Signature.of(
        required="created_at ai_org ai_model req_units res_units",
        typical="total_units cost cost_currency response_time is_success response_status_code",
    ),
    rules={
        "status": _portkey_status,
        "cached": lambda find: f"CAST({_portkey_hit(find)} AS VARCHAR)",
        "cache_layer": lambda find: (
            f"CASE WHEN {_portkey_hit(find)} THEN"
            f" CASE WHEN {find('cache_status')} LIKE 'SEMANTIC%' THEN 'l2' ELSE 'l1' END END"
        ),
    },
)
