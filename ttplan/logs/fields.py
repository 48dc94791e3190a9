"""The fields of a logged request, and the texts that each accepts."""

from __future__ import annotations

from typing import NamedTuple


class ValueKind(NamedTuple):
    """A kind of value: the pattern of its texts, SQL that parses one, and a description.

    `value` is SQL over the text column {c}; only names of `FIELDS` are inserted there. A kind
    without a pattern is a list of numbers, not a text.
    """

    pattern: str | None
    value: str
    expected: str


IDENTIFIER = ValueKind(
    r"(?s).+", "CASE WHEN length({c}) <= 512 THEN {c} END", "an id of 1 to 512 characters"
)
INSTANT = ValueKind(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z| UTC| GMT|[+-]\d\d(:?\d\d)?)",
    "TRY_CAST({c} AS TIMESTAMPTZ)",
    "a time with its zone, such as 2026-05-01T12:00:00Z",
)
NAME = ValueKind(
    r"(?s).+", "CASE WHEN length({c}) <= 512 THEN {c} END", "a text of 1 to 512 characters"
)
TEXT = ValueKind(
    r"(?s).*", "CASE WHEN length({c}) <= 4096 THEN {c} END", "a text of at most 4,096 characters"
)
BODY = ValueKind(r"(?s).*", "{c}", "a text")
COUNT = ValueKind(
    r"\d{1,12}(\.0+)?", "TRY_CAST({c} AS BIGINT)", "a whole number from 0 to 999,999,999,999"
)
STATUS = ValueKind(
    r"\d{1,5}(\.0+)?",
    "TRY_CAST(regexp_extract({c}, '^\\d+') AS INTEGER)",
    "a status from 0 to 99,999",
)
MONEY = ValueKind(
    r"(\d{1,12}(\.\d{0,400})?|\.\d{1,400}|\d{1,12}(\.\d{1,20})?[eE][+-]?\d{1,4})",
    "CASE WHEN TRY_CAST({c} AS DECIMAL(38, 12)) < 1000000000000"
    " THEN TRY_CAST({c} AS DECIMAL(38, 12)) END",
    "an amount in USD, not negative and below 10^12",
)
FLAG = ValueKind(r"(?i)true|false|1|0|t|f|yes|no|y|n", "TRY_CAST({c} AS BOOLEAN)", "true or false")
MAX_USAGE = 64 * 2**10
"""A larger usage object, in bytes, is not kept."""
USAGE = ValueKind(r"(?s).*", "CASE WHEN json_valid({c}) THEN {c} END", "JSON")
BASIS = ValueKind(r"recorded|recomputed|doctor", "{c}", "recorded, recomputed or doctor")
READING = ValueKind(
    r"decided|unexplained|without_tokens", "{c}", "decided, unexplained, without_tokens or nothing"
)
STATED = ValueKind(
    r"(?s).*",
    "TRY_CAST(regexp_extract({c}, '^\\d+') AS BIGINT)",
    "a whole number",
)
LAYER = ValueKind(r"l1|l2", "{c}", "l1, l2 or nothing")
UUID_TEXT = ValueKind(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "lower({c})",
    "a UUID such as 6f1c…-…",
)

VECTOR = ValueKind(
    None,
    "CASE WHEN len({c}) <= 16384 AND list_count({c}) = len({c}) "
    "AND isfinite(list_min({c})) AND isfinite(list_max({c})) THEN {c} END",
    "a list of 1 to 16,384 finite numbers that fit 32 bits",
)


OTHER_UNITS = ("CHARACTERS", "SECONDS", "MILLISECONDS", "IMAGES", "REQUESTS")
"""What usage may count instead of tokens."""
FAILED_FINISHES = {
    500: "error errored failed failure timeout timed_out internal_error server_error",
    499: "cancelled canceled aborted abort interrupted",
}
"""Finish reasons of calls that failed, by the status that they then have if the log has none."""


class Field(NamedTuple):
    """A field: its kind, and the SQL default of a missing value. Required fields have none."""

    name: str
    kind: ValueKind
    required: bool = False
    default: str = "NULL"
    assumed: str | None = None
    """What a report says is assumed if a file has no such column."""


FIELDS = (
    Field("id", IDENTIFIER, required=True),
    Field("org_id", IDENTIFIER, assumed="the store's organisation"),
    Field("ts", INSTANT, required=True),
    Field("provider", NAME, required=True),
    Field("model", NAME, required=True),
    Field("input_tokens", COUNT, required=True),
    Field("output_tokens", COUNT, required=True),
    Field("cached_tokens", COUNT, default="0", assumed="0"),
    Field("cost_usd", MONEY, required=True),
    Field("baseline_cost_usd", MONEY, default="cost_usd_value", assumed="cost_usd"),
    Field("cached", FLAG, default="FALSE", assumed="false"),
    Field("cache_layer", LAYER),
    Field("matched_route_id", UUID_TEXT),
    Field("latency_ms", COUNT),
    Field("upstream_latency_ms", COUNT),
    Field("status", STATUS, default="200", assumed="200"),
    Field("tag", TEXT),
    Field("finish_reason", TEXT),
    Field("session_id", TEXT),
    Field("user_id", TEXT),
    Field("api_key_id", TEXT),
    Field("cache_write_tokens", COUNT),
    Field("cache_write_1h_tokens", COUNT),
    Field("reasoning_tokens", COUNT),
    Field("input_audio_tokens", COUNT),
    Field("output_audio_tokens", COUNT),
    Field("input_image_tokens", COUNT),
    Field("output_image_tokens", COUNT),
    Field("web_searches", COUNT),
    Field("streamed", FLAG),
    Field("service_tier", TEXT),
    Field("endpoint", TEXT),
    Field("provider_usage", USAGE),
    Field("usage_reading", READING),
    Field("prompt_hash", BODY),
    Field("answer_hash", BODY),
    Field("logged_provider", NAME),
    Field("logged_model", NAME),
    Field("recorded_cost_usd", MONEY, default="cost_usd_value"),
    Field("cost_basis", BASIS, default="CASE WHEN cost_usd_value IS NOT NULL THEN 'recorded' END"),
)
HELPERS = (
    Field("total_tokens", STATED),
    Field("other_usage", BODY),
    Field("resolved_model", BODY),
)
"""Read to find other values, and not kept: the stated total, a second usage object, and the model
that a deployment or profile stands for."""
BODIES = (Field("body", BODY), Field("response_body", BODY))
"""Read only on request, and never shown in a message."""
PROMPTS = (Field("prompt", BODY), Field("prompt_parameters", BODY), Field("answer", BODY))
"""Read to be hashed, and neither kept nor shown in a message. Without a source of their own, prompt
and answer are the bodies."""
HASHED_BODIES = {"prompt": "body", "answer": "response_body"}
TEXTS = frozenset(field.name for field in (*BODIES, *PROMPTS))
"""Large texts."""
PRIVATE = TEXTS | {"prompt_hash", "answer_hash"}
"""Fields whose text no message shows."""
EMBEDDINGS = (Field("embedding", VECTOR),)
"""Large and revealing, so read only on request."""
