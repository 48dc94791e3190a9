"""TokenTrimmer's `request_logs`: our names without what is ours alone, as PostgreSQL writes them."""

from __future__ import annotations

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS
from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.mapping import Mapping, Value

_OURS = (
    "cache_write_tokens",
    "recorded_cost_usd",
    "cost_basis",
    "logged_model",
    "body_lower",
    "source_id",
)
_BOOLEANS: dict[str, str | int | float | bool | None] = {"t": True, "f": False}
MAPPING = Mapping(
    name="tokentrimmer",
    fields={
        field.name: Value(path=(field.name,))
        for field in (*FIELDS, *BODIES, *EMBEDDINGS)
        if field.name not in _OURS
    }
    | {
        "cached": Value(path=("cached",), values=_BOOLEANS),
        "ts": Value(path=("ts",), unit="iso_utc"),
    },
)
FORMAT = Format(
    title="TokenTrimmer request_logs",
    mapping=MAPPING,
    signs=Signature(
        needs=(
            *(
                "id",
                "org_id",
                "ts",
                "provider",
                "model",
                "input_tokens",
                "output_tokens",
                "cached_tokens",
                "cost_usd",
            ),
            *(
                "baseline_cost_usd",
                "cached",
                "cache_layer",
                "matched_route_id",
                "upstream_latency_ms",
            ),
        ),
        never=_OURS,
    ),
    named=False,
    table="request_logs",
)
