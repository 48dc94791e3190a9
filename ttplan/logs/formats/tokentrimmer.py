"""TokenTrimmer's `request_logs`: our names without what is ours alone, as PostgreSQL writes them."""

from __future__ import annotations

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS
from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping, FieldSource

_OURS = (
    "cache_write_tokens",
    "recorded_cost_usd",
    "cost_basis",
    "logged_model",
    "body_lower",
    "source_id",
)
_BOOLEANS: dict[str, str | int | float | bool | None] = {"t": True, "f": False}
MAPPING = FormatMapping(
    name="tokentrimmer",
    fields={
        field.name: FieldSource(path=(field.name,))
        for field in (*FIELDS, *BODIES, *EMBEDDINGS)
        if field.name not in _OURS
    }
    | {
        "cached": FieldSource(path=("cached",), values=_BOOLEANS),
        "ts": FieldSource(path=("ts",), unit="iso_utc"),
    },
)
FORMAT = Format(
    title="TokenTrimmer request_logs",
    mapping=MAPPING,
    signature=Signature(
        required=(
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
        forbidden=_OURS,
    ),
    foreign_names=False,
    table="request_logs",
)
