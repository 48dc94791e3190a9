"""LiteLLM's two formats: rows of its table, and its standard logging payload.

`LiteLLM_SpendLogs` is read from the table, a CSV of it, or its rows as JSON. `prompt_tokens`
includes cache reads, and cache writes too, except in versions of mid-2025, which added only the
reads for Anthropic. `completion_tokens` includes reasoning. Times have no zone and are UTC.
`metadata` is JSON, written as a text in some exports. A cache hit has `cache_hit` "True" as a text
and a spend of 0.

The payload is one JSON object per request, as the callbacks (S3, GCS, a generic API, a file) write
it. Counts are the same; times are seconds since 1970; the cost is `response_cost`.
"""

from __future__ import annotations

from typing import Any

from ttplan.logs.format import FindText, Format, Rule, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import elapsed_ms, null_if_in, quoted

_NOT_REQUESTS = (
    "acreate_batch acreate_file afile_content afile_delete afile_list afile_retrieve"
    " alist_batches acancel_batch aretrieve_batch call_mcp_tool list_mcp_tools"
)
"""Calls that are not a request to a model. A retrieved batch is a bill for many requests."""


_WITHOUT_TOKENS = (
    "transcription speech image_generation image_edit image_variation rerank moderation ocr"
    " video_generation video_content create_video search vector_store_search"
)
"""Calls that are not billed by tokens; the asynchronous ones begin with an "a"."""


def _reading(find: FindText) -> str:
    calls = [name for call in _WITHOUT_TOKENS.split() for name in (call, f"a{call}")]
    listed = ", ".join(map(quoted, calls))
    return f"CASE WHEN {find('call_type')} IN ({listed}) THEN 'without_tokens' END"


def _status(find: FindText) -> str:
    """The code of a failure, 500 if it has none; else 200."""
    code = find("metadata.error_information.error_code", "error_information.error_code")
    failed = f"coalesce({find('status', 'metadata.status')}, '') = 'failure'"
    error = f"CASE WHEN regexp_full_match({code}, '[1-9]\\d\\d') THEN {code} ELSE '500' END"
    return f"CASE WHEN {failed} THEN {error} END"


def _provider_by(price_list: str) -> Rule:
    """LiteLLM's provider, else its price list's, else the prefix of the model, else "unknown"."""

    def provider(find: FindText) -> str:
        model = find("model", "model_group")
        prefix = f"CASE WHEN contains({model}, '/') THEN split_part({model}, '/', 1) END"
        unknown = f"CASE WHEN {model} IS NOT NULL THEN 'unknown' END"
        return f"coalesce({find('custom_llm_provider', price_list)}, {prefix}, {unknown})"

    return provider


def _tag(find: FindText) -> str:
    """The user's tags, separated by commas, without the user agent that LiteLLM adds."""
    tags = find("request_tags")
    listed = f"CASE WHEN {tags} LIKE '[%' THEN TRY(json_extract_string({tags}, '$[*]')) END"
    own = f"list_filter({listed}, lambda x: x NOT LIKE 'User-Agent:%')"
    return f"NULLIF(array_to_string({own}, ','), '')"


def _streamed(find: FindText) -> str:
    """Whether the first token came before the end: without streaming both times are the end."""
    first, end = find("completionStartTime"), find("endTime")
    return f"CAST({elapsed_ms(first, end, 'iso_utc')} > 0 AS VARCHAR)"


def _resolved_by(information: str) -> Rule:
    """The model that LiteLLM's price list, or the response, names for a deployment or profile."""

    def resolved(find: FindText) -> str:
        listed = f"nullif({find(f'{information}.model_map_key')}, {find('model', 'model_group')})"
        return f"coalesce({listed}, {find('response.model')})"

    return resolved


_MAP, _PAYLOAD_MAP = "metadata.model_map_information", "model_map_information"
_DOCUMENTS = "metadata request_tags messages response proxy_server_request"
_FIELDS: dict[str, Any] = {
    "id": "request_id",
    "ts": {"path": "startTime", "unit": "iso_utc"},
    "provider": "custom_llm_provider",
    "model": ["model", "model_group"],
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cost_usd": "spend",
    "cached": {"path": "cache_hit", "values": {"None": False}, "default": False},
    "latency_ms": {"start": "startTime", "end": "endTime", "unit": "iso_utc"},
    "status": "status",
    "tag": "request_tags",
    "finish_reason": "response.choices[0].finish_reason",
    "session_id": "session_id",
    "user_id": ["end_user", "user"],
    "api_key_id": "api_key",
    "total_tokens": "total_tokens",
    # The other counts are those of the provider's usage.
    "cached_tokens": {"constant": 0},
    "provider_usage": {"path": "usage", "values": {"{}": None}},
    # What was served comes before what was asked for.
    "service_tier": ["response.service_tier", "model_parameters.service_tier"],
    "prompt_hash": {"path": "cache_key", "values": {"Cache OFF": None}},
    "body": "proxy_server_request",
    "response_body": {"path": "response", "values": {"{}": None}},
}
_SKIP = [
    {
        "path": "call_type",
        "is": _NOT_REQUESTS.split(),
        "reason": "a file, batch or tool call, no request to a model",
    },
    {
        "path": ["model", "model_group"],
        "is": [None],
        "reason": "it was refused before a model was chosen",
    },
]
SPEND_LOGS = Format(
    title="LiteLLM_SpendLogs rows",
    mapping=FormatMapping.model_validate(
        {
            "name": "litellm",
            "rows": ["", "data[*]"],
            "blank_is_missing": True,
            "documents": _DOCUMENTS.split(),
            # The provider's usage in versions since mid-2025, and before.
            "parts": {"usage": ["metadata.usage_object", "metadata.additional_usage_values"]},
            "fields": _FIELDS,
            "skip": _SKIP,
        }
    ),
    signature=Signature.of(
        required="request_id startTime endTime spend prompt_tokens completion_tokens model",
        typical="call_type cache_hit custom_llm_provider request_tags metadata model_group"
        " api_base",
    ),
    rules={
        "status": _status,
        "provider": _provider_by(f"{_MAP}.model_map_value.litellm_provider"),
        "resolved_model": _resolved_by(_MAP),
        "tag": _tag,
        "usage_reading": _reading,
        "streamed": _streamed,
        "body": lambda find: (
            f"coalesce({null_if_in(find('proxy_server_request'), '{}')},"
            f" {null_if_in(find('messages'), '{}', '[]')})"
        ),
    },
    counting="inside",
    table="LiteLLM_SpendLogs",
)
PAYLOAD = Format(
    title="LiteLLM's standard logging payload",
    mapping=FormatMapping.model_validate(
        {
            "name": "litellm_payload",
            "rows": ["", "data[*]"],
            "blank_is_missing": True,
            "parts": {"usage": ["metadata.usage_object", "response.usage"]},
            "fields": _FIELDS
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
                "body": {"path": "messages", "values": {"{}": None, "[]": None}},
                "prompt_parameters": "model_parameters",
            },
            "skip": _SKIP,
        }
    ),
    signature=Signature.of(
        required="id startTime endTime response_cost prompt_tokens completion_tokens model",
        typical="call_type trace_id hidden_params model_map_information saved_cache_cost"
        " model_parameters",
    ),
    rules={
        "status": _status,
        "provider": _provider_by(f"{_PAYLOAD_MAP}.model_map_value.litellm_provider"),
        "resolved_model": _resolved_by(_PAYLOAD_MAP),
        "tag": _tag,
        "usage_reading": _reading,
    },
    counting="inside",
)
