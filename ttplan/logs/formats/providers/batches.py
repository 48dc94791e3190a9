"""Results of batches: the output files of OpenAI's Batch API, and Anthropic's.

They have the provider's own usage, and no cost. OpenAI's lines say when the response was made.
Anthropic's say no time at all: the time of the file is taken, which is when it was downloaded.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_BODY = "response.body"


def _file_time(find: FindText) -> str:
    """When the file was written."""
    return "(SELECT strftime(last_modified, '%Y-%m-%dT%H:%M:%SZ') FROM read_blob($path))"


OPENAI = Format(
    title="OpenAI batch results",
    mapping=FormatMapping.model_validate(
        {
            "name": "openai_batch",
            "fields": {
                "id": ["id", f"{_BODY}.id"],
                "ts": {"path": [f"{_BODY}.created", f"{_BODY}.created_at"], "unit": "epoch_s"},
                "provider": {"constant": "openai"},
                "model": f"{_BODY}.model",
                **FROM_USAGE,
                "provider_usage": f"{_BODY}.usage",
                "status": "response.status_code",
                # The responses say "default"; what is in the file is billed as a batch.
                "service_tier": {"constant": "batch"},
                "streamed": {"constant": False},
                "finish_reason": [f"{_BODY}.choices[0].finish_reason", f"{_BODY}.status"],
                "tag": f"{_BODY}.metadata.tag",
                "session_id": f"{_BODY}.metadata.session_id",
                "user_id": [f"{_BODY}.user", f"{_BODY}.safety_identifier"],
                "response_body": _BODY,
            },
            "skip": [
                {
                    "path": f"{_BODY}.usage",
                    "is": [None],
                    "reason": "a request that failed, which has no usage and is not billed",
                },
            ],
        }
    ),
    signature=Signature.of(
        required="id custom_id response error", typical="response.status_code response.body"
    ),
)
ANTHROPIC = Format(
    title="Anthropic batch results",
    mapping=FormatMapping.model_validate(
        {
            "name": "anthropic_batch",
            "fields": {
                "id": "result.message.id",
                "provider": {"constant": "anthropic"},
                "model": "result.message.model",
                **FROM_USAGE,
                "provider_usage": "result.message.usage",
                "service_tier": {"constant": "batch"},
                "streamed": {"constant": False},
                "finish_reason": "result.message.stop_reason",
                "response_body": "result.message.content",
            },
            "skip": [
                {
                    "path": "result.type",
                    "is_not": ["succeeded"],
                    "reason": "a request without a response, which is not billed",
                },
            ],
        }
    ),
    signature=Signature.of(
        required="custom_id result result.type", typical="result.message result.error"
    ),
    rules={"ts": _file_time},
    assumed={"ts": "the time of the file, since its rows say none"},
)
