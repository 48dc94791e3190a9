"""Amazon Bedrock's model invocation logs, as S3 and CloudWatch Logs have them.

Cache reads and writes are beside the input tokens. CloudWatch wraps each entry in a log event,
whose `message` is the entry as text.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_BODY = "output.outputBodyJson"
_ERRORS = {"ThrottlingException": 429, "AccessDeniedException": 403, "ValidationException": 400}


def _entries(documents: str) -> str:
    """The entries: a document itself, or the messages of its log events."""
    wrapped = "json_exists(json, '/events') OR json_exists(json, '/logEvents')"
    events = "coalesce(json->'/events', json->'/logEvents')"
    message = "coalesce(json_extract_string(json, '/message'), json->>'/@message')"
    return f"""(SELECT CASE WHEN NOT json_exists(json, '/modelId') AND json_valid({message})
            THEN {message}::JSON ELSE json END AS json
        FROM (SELECT unnest(CASE WHEN {wrapped} THEN TRY_CAST({events} AS JSON[])
            ELSE [json] END) AS json FROM {documents}))"""  # noqa: S608


def _usage(find: FindText) -> str:
    """The counts of the log itself, in the names of the Converse API."""
    names = ("inputTokenCount", "outputTokenCount")
    cached = ("cacheReadInputTokenCount", "cacheWriteInputTokenCount")
    paths = {
        names[0]: ["input.inputTokenCount"],
        names[1]: ["output.outputTokenCount"],
        **{name: [f"input.{name}"] for name in cached},
    }
    pairs = ", ".join(f"'{name}', {find(*path)}" for name, path in paths.items())
    return f"CAST(json_object({pairs}) AS VARCHAR)"


def _status(find: FindText) -> str:
    error = find("errorCode")
    known = " ".join(f"WHEN {error} = '{name}' THEN '{code}'" for name, code in _ERRORS.items())
    return f"CASE WHEN {error} IS NULL THEN '200' {known} ELSE '500' END"


FORMAT = Format(
    title="Amazon Bedrock model invocation logs",
    mapping=FormatMapping.model_validate(
        {
            "name": "bedrock",
            "fields": {
                "id": "requestId",
                "ts": {"path": "timestamp", "unit": "iso_utc"},
                "provider": {"constant": "aws"},
                "model": "modelId",
                "resolved_model": f"{_BODY}.model",
                **FROM_USAGE,
                # What the model returned: only that has one-hour writes and reasoning.
                "other_usage": f"{_BODY}.usage",
                "latency_ms": {"path": f"{_BODY}.metrics.latencyMs", "unit": "ms"},
                "streamed": {
                    "path": "operation",
                    "values": {
                        "ConverseStream": True,
                        "InvokeModelWithResponseStream": True,
                        "InvokeModelWithBidirectionalStream": True,
                        "Converse": False,
                        "InvokeModel": False,
                    },
                },
                "service_tier": [f"{_BODY}.serviceTier.type", "serviceTier.type"],
                "endpoint": ["inferenceRegion", "region"],
                "finish_reason": [
                    f"{_BODY}.stopReason",
                    f"{_BODY}.stop_reason",
                    f"{_BODY}.choices[0].finish_reason",
                ],
                "tag": ["requestMetadata.tag", "requestMetadata.feature", "requestMetadata.app"],
                "user_id": ["requestMetadata.user", "requestMetadata.userId"],
                "api_key_id": "identity.arn",
                "body": "input.inputBodyJson",
                "response_body": _BODY,
            },
            "skip": [
                {
                    "path": "schemaType",
                    "is_not": ["ModelInvocationLog"],
                    "reason": "an entry that is not of a model's invocation",
                },
            ],
        }
    ),
    signature=Signature.of(
        required="schemaType modelId requestId operation timestamp",
        typical="accountId schemaVersion identity input output",
    ),
    rules={"provider_usage": _usage, "status": _status},
    expand=_entries,
    document_keys=("schemaType", "events", "logEvents", "message", "@message"),
)
