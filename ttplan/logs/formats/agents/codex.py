"""Codex: the rollout files in `~/.codex/sessions`.

A rollout has a line per event. A `turn_context` names the model of the events after it. A
`token_count` has the session's counts so far, and is repeated when only the rate limits changed, so
a request is the difference between two of them. Cached tokens are inside `input_tokens`, reasoning
is inside `output_tokens`. Requests have no ids: the session's id and the line make one.
"""

from __future__ import annotations

from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import quoted

_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)
_TEXTS = {
    "kind": "/type",
    "event": "/payload/type",
    "written": "/timestamp",
    "session_id": "/payload/id",
    "session_provider": "/payload/model_provider",
    "turn_model": "/payload/model",
    "turn_tier": "/payload/service_tier",
    **{f"all_{name}": f"/payload/info/total_token_usage/{name}" for name in _COUNTS},
    **{f"last_{name}": f"/payload/info/last_token_usage/{name}" for name in _COUNTS},
}


def _requests(documents: str) -> str:
    """Each line as an object; a count of tokens has the model and the usage of its request."""
    pointers = ", ".join(map(quoted, _TEXTS.values()))
    texts = ", ".join(f"x[{n}] AS {name}" for n, name in enumerate(_TEXTS, 1))
    is_count = "event = 'token_count' AND all_total_tokens IS NOT NULL"
    kinds = {
        "session": "CASE WHEN kind = 'session_meta' THEN session_id END",
        "provider": "CASE WHEN kind = 'session_meta' THEN session_provider END",
        "model": "CASE WHEN kind = 'turn_context' THEN turn_model END",
        "tier": "CASE WHEN kind = 'turn_context' THEN turn_tier END",
    }
    carried = ", ".join(
        f"last_value({text} IGNORE NULLS) OVER (ORDER BY line) AS {name}"
        for name, text in kinds.items()
    )
    counts, last = (
        "{" + ", ".join(f"{n}: coalesce(TRY_CAST({part}_{n} AS BIGINT), 0)" for n in _COUNTS) + "}"
        for part in ("all", "last")
    )
    difference = "{" + ", ".join(f"{n}: counts.{n} - before.{n}" for n in _COUNTS) + "}"
    smaller = " OR ".join(f"counts.{n} < before.{n}" for n in _COUNTS)
    # A resumed session starts with the counts of an earlier file, a new one may start again at 0.
    usage = (
        f"CASE WHEN before IS NOT NULL AND NOT ({smaller}) THEN {difference}"
        " WHEN last_total_tokens IS NOT NULL THEN last ELSE counts END"
    )
    return f"""(
        WITH lines AS (SELECT line, {texts} FROM
            (SELECT row_number() OVER () AS line, json_extract_string(json, [{pointers}]) AS x
            FROM {documents})),
        events AS (SELECT line, kind, written, {carried}, last_total_tokens, {last} AS last,
            CASE WHEN {is_count} THEN {counts} END AS counts FROM lines),
        ordered AS (SELECT *, last_value(counts IGNORE NULLS) OVER (PARTITION BY session
            ORDER BY line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM events),
        used AS (SELECT *, CASE WHEN counts IS NOT NULL THEN {usage} END AS usage FROM ordered)
        SELECT to_json({{timestamp: written, type: kind, model: model,
            session: CASE WHEN session IS NOT NULL THEN {{id: session}} END,
            id: session || '/' || line, model_provider: provider, service_tier: tier, usage: usage,
            payload: CASE WHEN counts IS NULL THEN 'other'
                WHEN usage = {{{", ".join(f"{n}: 0" for n in _COUNTS)}}} THEN 'repeated'
                ELSE 'request' END}}) AS json
        FROM used ORDER BY line)"""  # noqa: S608


FORMAT = Format(
    title="Codex rollouts",
    mapping=FormatMapping.model_validate(
        {
            "name": "codex",
            "fields": {
                "id": "id",
                "ts": {"path": "timestamp", "unit": "iso_utc"},
                "provider": {"path": "model_provider", "default": "openai"},
                "model": {"path": "model", "default": "unknown"},
                "input_tokens": {"constant": 0},
                "output_tokens": {"constant": 0},
                "cached_tokens": {"constant": 0},
                "provider_usage": "usage",
                "service_tier": "service_tier",
                "streamed": {"constant": True},
                "session_id": "session.id",
            },
            "skip": [
                {
                    "path": "payload",
                    "is": ["other"],
                    "reason": "a line that is not a count of tokens",
                },
                {
                    "path": "payload",
                    "is": ["repeated"],
                    "reason": "a count of tokens that repeats the one before it",
                },
            ],
        }
    ),
    signature=Signature.of(required="timestamp type payload session.id"),
    expand=_requests,
    document_keys=("payload",),
)
