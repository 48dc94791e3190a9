"""opencode: its message files, one message each, and sessions from `opencode export`.

Counts are disjoint: `input` is without cache reads and writes, `output` without reasoning.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping


def _messages(documents: str) -> str:
    """The messages: a document itself, or the `info` of those of an exported session."""
    return f"""(SELECT coalesce(json->'/info', json) AS json FROM (
        SELECT unnest(CASE WHEN json_exists(json, '/messages')
            THEN TRY_CAST(json->'/messages' AS JSON[]) ELSE [json] END) AS json
        FROM {documents}))"""  # noqa: S608


def _status(find: FindText) -> str:
    """The status of the provider's error; 499 if the user cancelled."""
    error, code = find("error.name"), find("error.data.statusCode")
    return (
        f"CASE WHEN {error} = 'MessageAbortedError' THEN '499'"
        f" WHEN {error} IS NOT NULL THEN coalesce({code}, '500') ELSE '200' END"
    )


FORMAT = Format(
    title="opencode messages",
    mapping=FormatMapping.model_validate(
        {
            "name": "opencode",
            "fields": {
                "id": "id",
                "ts": {"path": "time.created", "unit": "epoch_ms"},
                "provider": {"path": "providerID", "default": "unknown"},
                "model": "modelID",
                **FROM_USAGE,
                "provider_usage": "tokens",
                "cost_usd": "cost",
                "latency_ms": {
                    "start": "time.created",
                    "end": "time.completed",
                    "unit": "epoch_ms",
                },
                "streamed": {"constant": True},
                "finish_reason": "finish",
                "tag": "mode",
                "session_id": "sessionID",
            },
            "skip": [
                {
                    "path": "role",
                    "is_not": ["assistant"],
                    "reason": "a message that is not a response of a model",
                },
            ],
        }
    ),
    signature=Signature.of(
        required="id role sessionID time.created",
        typical="modelID providerID tokens.cache mode parentID",
    ),
    rules={"status": _status},
    expand=_messages,
    document_keys=("sessionID", "messages", "info"),
    counting="beside",
)
