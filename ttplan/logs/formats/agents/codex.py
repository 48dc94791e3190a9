"""Codex: the rollout files in `~/.codex/sessions`.

A rollout has a line per event. A `turn_context` names the model of the events after it. A
`token_count` has the session's counts so far, and is repeated when only the rate limits changed, so
a request is the difference between two of them. Cached tokens are inside `input_tokens`, reasoning
is inside `output_tokens`. Requests have no ids: the session's id and the line make one.

The rollout of a fork begins with a copy of its parent's, with the old times or with that of the
copying: lines from before the fork, and those that follow it within a second of each other.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, Format, Signature
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
    "forked_from": "/payload/forked_from_id",
    "spawned_by": "/payload/source/subagent/thread_spawn/parent_thread_id",
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
    carried = ", ".join(
        f"last_value(CASE WHEN kind = 'turn_context' THEN {text} END IGNORE NULLS)"
        f" OVER so_far AS {name}"
        for name, text in {"model": "turn_model", "tier": "turn_tier"}.items()
    )
    meta = (
        "CASE WHEN kind = 'session_meta' THEN {id: session_id, provider: session_provider,"
        " is_fork: coalesce(forked_from, spawned_by) IS NOT NULL, began: moment} END"
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
        timed AS (SELECT *, TRY_CAST(written AS TIMESTAMPTZ) AS moment FROM lines),
        paced AS (SELECT *, moment - lag(moment) OVER (ORDER BY line) > INTERVAL 1 SECOND AS paused
            FROM timed),
        events AS (SELECT line, kind, written, moment, {carried}, last_total_tokens, {last} AS last,
            first_value({meta} IGNORE NULLS) OVER so_far AS session,
            coalesce(bool_or(paused) OVER so_far, FALSE) AS has_paused,
            CASE WHEN {is_count} THEN {counts} END AS counts
            FROM paced
            WINDOW so_far AS (ORDER BY line ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
        ordered AS (SELECT *, last_value(counts IGNORE NULLS) OVER (
            ORDER BY line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM events),
        used AS (SELECT *, CASE WHEN counts IS NOT NULL THEN {usage} END AS usage FROM ordered)
        SELECT to_json({{timestamp: written, type: kind, model: model,
            session: CASE WHEN session IS NOT NULL THEN {{id: session.id}} END,
            id: session.id || '/' || line, model_provider: session.provider, service_tier: tier,
            usage: usage, payload: CASE WHEN counts IS NULL THEN 'other'
                WHEN session.is_fork AND (moment < session.began OR NOT has_paused) THEN 'copied'
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
                **FROM_USAGE,
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
                    "is": ["copied"],
                    "reason": "a count of tokens that a fork copied from its parent",
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
