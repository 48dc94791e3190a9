"""Our own columns: a file of them is read as it is, names and all."""

from __future__ import annotations

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS
from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping, FieldSource

REQUEST_COLUMNS_MAPPING = FormatMapping(
    name="own",
    fields={field.name: FieldSource(path=(field.name,)) for field in (*FIELDS, *BODIES, *EMBEDDINGS)},
)
FORMAT = Format(
    title="ttplan's own columns",
    mapping=REQUEST_COLUMNS_MAPPING,
    signature=Signature(
        required=("id", "ts", "provider", "model", "input_tokens", "output_tokens", "cost_usd"),
        typical=(
            "cached_tokens",
            "baseline_cost_usd",
            "cost_basis",
            "recorded_cost_usd",
            "body_lower",
            "source_id",
        ),
    ),
    foreign_names=False,
    table="requests",
)
