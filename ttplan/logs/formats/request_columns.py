"""Logs with ttplan's own columns: ttplan's exports, and TokenTrimmer's `request_logs`.

Names of providers and models are kept as they are.
"""

from __future__ import annotations

from typing import Any

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS
from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_COLUMNS: dict[str, Any] = {f.name: f.name for f in (*FIELDS, *BODIES, *EMBEDDINGS)}
_ONLY_OWN = (
    "cache_write_tokens cache_write_1h_tokens web_searches usage_reading recorded_cost_usd"
    " cost_basis logged_model body_lower source_id"
)
OWN = Format(
    title="ttplan's own columns",
    mapping=FormatMapping(name="own", fields=_COLUMNS),
    signature=Signature.of(
        required="id ts provider model input_tokens output_tokens cost_usd",
        typical="cached_tokens baseline_cost_usd cost_basis recorded_cost_usd body_lower source_id",
    ),
    foreign_names=False,
    counting="exact",
    table="requests",
)
TOKENTRIMMER = Format(
    title="TokenTrimmer request_logs",
    mapping=FormatMapping(
        name="tokentrimmer",
        fields={name: source for name, source in _COLUMNS.items() if name not in _ONLY_OWN.split()}
        | {
            # As PostgreSQL writes them.
            "cached": {"path": "cached", "values": {"t": True, "f": False}},
            "ts": {"path": "ts", "unit": "iso_utc"},
        },
    ),
    signature=Signature.of(
        required="id org_id ts provider model input_tokens output_tokens cached_tokens cost_usd"
        " baseline_cost_usd cached cache_layer matched_route_id upstream_latency_ms",
        forbidden=_ONLY_OWN,
    ),
    foreign_names=False,
    counting="exact",
    table="request_logs",
)
