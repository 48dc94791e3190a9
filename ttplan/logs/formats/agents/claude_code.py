"""Claude Code: the session files in `~/.claude/projects`, and its OpenTelemetry events.

A session file has a line per block of a response. The lines of a response have its id and the usage
that was known when they were written, so the last one counts. Cache reads and writes are beside
`input_tokens`. An event is a log record of OTLP JSON; those named `api_request` are requests.
"""

from __future__ import annotations

import json

from ttplan.logs.format import FROM_USAGE, FindText, Format, Signature
from ttplan.logs.formats.otlp import attributes_object
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import quoted

_SUPERSEDED = '{"superseded":"true"}'


def _latest(documents: str) -> str:
    """The lines, in order; a line that a later one of the same response replaces says only that."""
    texts = "json_extract_string(json, ['/type', '/message/id', '/message/usage/output_tokens'])"
    order = "TRY_CAST(x[3] AS BIGINT) DESC NULLS LAST, line DESC"
    return f"""(SELECT CASE WHEN place > 1 THEN {quoted(_SUPERSEDED)}::JSON ELSE json END AS json
        FROM (SELECT *, CASE WHEN x[1] = 'assistant' AND x[2] IS NOT NULL
                THEN row_number() OVER (PARTITION BY x[1], x[2] ORDER BY {order}) END AS place
            FROM (SELECT *, {texts} AS x FROM
                (SELECT json, row_number() OVER () AS line FROM {documents})))
        ORDER BY line)"""  # noqa: S608


def _status(find: FindText) -> str:
    """The status of an error that Claude Code shows as a response."""
    code = f"regexp_extract({find('message.content[0].text')}, 'API Error: ([45]\\d\\d)', 1)"
    failed = f"{find('isApiErrorMessage')} = 'true'"
    return f"CASE WHEN {failed} THEN coalesce(nullif({code}, ''), '500') ELSE '200' END"


SESSIONS = Format(
    title="Claude Code sessions",
    mapping=FormatMapping.model_validate(
        {
            "name": "claude_code",
            "fields": {
                "id": ["message.id", "uuid"],
                "ts": {"path": "timestamp", "unit": "iso_utc"},
                # Bedrock and Vertex AI have ids of their own, which the model's name shows.
                "provider": {"constant": "unknown"},
                "model": "message.model",
                **FROM_USAGE,
                "provider_usage": "message.usage",
                "streamed": {"constant": True},
                "finish_reason": "message.stop_reason",
                "tag": {
                    "path": "isSidechain",
                    "values": {"true": "subagent", "false": "main"},
                },
                "session_id": "sessionId",
                "response_body": "message.content",
            },
            "skip": [
                {
                    "path": "superseded",
                    "is": ["true"],
                    "reason": "an earlier line of a response, which a later one replaces",
                },
                {
                    "path": "type",
                    "is_not": ["assistant"],
                    "reason": "a line that is not a response of a model",
                },
                {
                    "path": "message.model",
                    "is": ["<synthetic>", None],
                    "reason": "a message that Claude Code wrote itself",
                },
            ],
        }
    ),
    # A session without any response is one, too.
    signature=Signature.of(
        required="type",
        any_of=("sessionId leafUuid messageId", "parentUuid leafUuid snapshot operation"),
        typical="uuid timestamp message isSidechain cwd version message.usage message.model",
    ),
    rules={"status": _status},
    expand=_latest,
    document_keys=("type",),
)

_PAIRS = [{"key": "VARCHAR", "value": "VARCHAR"}]
_RECORD = {"timeUnixNano": "VARCHAR", "observedTimeUnixNano": "VARCHAR", "attributes": _PAIRS}
_DOCUMENT = {
    "resourceLogs": [
        {"resource": {"attributes": _PAIRS}, "scopeLogs": [{"logRecords": [_RECORD]}]},
    ]
}
_TOKENS = r"^(input|output|cache_read|cache_creation)_tokens$"


def _events(documents: str) -> str:
    """Each log record as an object: its time, its attributes, those that count tokens again, and
    its resource's."""
    members = {
        "time": "coalesce(to_json(coalesce(r.timeUnixNano, r.observedTimeUnixNano)), 'null')",
        "attributes": attributes_object("r.attributes"),
        "usage": attributes_object("r.attributes", _TOKENS),
        "resource": "resource",
    }
    parts = " || ',' || ".join(f"'\"{name}\":' || {text}" for name, text in members.items())
    parsed = f"from_json(json, {quoted(json.dumps(_DOCUMENT))})"
    return f"""(SELECT '{{' || {parts} || '}}' AS json FROM (
        SELECT unnest(flatten(list_transform(l.scopeLogs, lambda x: x.logRecords))) AS r,
            {attributes_object("l.resource.attributes")} AS resource
        FROM (SELECT unnest({parsed}.resourceLogs) AS l FROM {documents})))"""  # noqa: S608


def _event_id(find: FindText) -> str:
    """The request's id, or what distinguishes the event: its session, its time and its number."""
    made = " || '/' || ".join(
        f"coalesce({find(path)}, '')"
        for path in ('attributes."session.id"', "time", 'attributes."event.sequence"')
    )
    return f"coalesce({find('attributes.request_id')}, {made})"


EVENTS = Format(
    title="Claude Code events (OTLP JSON)",
    mapping=FormatMapping.model_validate(
        {
            "name": "claude_code_events",
            "blank_is_missing": True,
            "fields": {
                "id": "attributes.request_id",
                "ts": {"path": "time", "unit": "epoch_ns"},
                "provider": {"constant": "unknown"},
                "model": "attributes.model",
                **FROM_USAGE,
                "provider_usage": "usage",
                "cost_usd": "attributes.cost_usd",
                "latency_ms": {"path": "attributes.duration_ms", "unit": "ms"},
                "service_tier": {
                    "path": "attributes.speed",
                    "values": {"normal": None, "standard": None},
                },
                "streamed": {"constant": True},
                "tag": ["attributes.query_source", 'resource."service.name"'],
                "session_id": 'attributes."session.id"',
                "user_id": [
                    'attributes."user.account_uuid"',
                    'attributes."user.id"',
                ],
            },
            "skip": [
                {
                    "path": 'attributes."event.name"',
                    "is_not": ["api_request", "claude_code.api_request"],
                    "reason": "an event other than a request to a model",
                },
            ],
        }
    ),
    signature=Signature.of(
        required='time attributes resource attributes."event.name"',
        typical='attributes."session.id" attributes.cost_usd attributes.model',
    ),
    rules={"id": _event_id},
    expand=_events,
    document_keys=("resourceLogs",),
    counting="beside",
)
