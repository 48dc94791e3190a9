"""The rows that come out of every log: their schema, their ids, and the names in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import pyarrow as pa
import pyarrow.compute as pc

from ttplan.logs.fields import UUID_TEXT

NAMESPACE = uuid5(NAMESPACE_URL, "ttplan:requests")
"""Where ids that are not UUIDs get theirs from; the original is kept as `source_id`."""
_BETWEEN = "\x00"
"""What no name has in it: DuckDB's texts may, but nothing that was typed."""
_MONEY = pa.decimal128(38, 12)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("org_id", pa.string()),
        ("ts", pa.timestamp("us", tz="UTC")),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("cost_usd", _MONEY),
        ("baseline_cost_usd", _MONEY),
        ("cached", pa.bool_()),
        ("cache_layer", pa.string()),
        ("matched_route_id", pa.string()),
        ("latency_ms", pa.int64()),
        ("upstream_latency_ms", pa.int64()),
        ("status", pa.int32()),
        ("tag", pa.string()),
        ("finish_reason", pa.string()),
        ("body", pa.string()),
        ("response_body", pa.string()),
        ("body_lower", pa.string()),
        ("source_id", pa.string()),
        ("session_id", pa.string()),
        ("user_id", pa.string()),
        ("api_key_id", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("cache_write_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("input_audio_tokens", pa.int64()),
        ("output_audio_tokens", pa.int64()),
        ("input_image_tokens", pa.int64()),
        ("output_image_tokens", pa.int64()),
        ("streamed", pa.bool_()),
        ("service_tier", pa.string()),
        ("endpoint", pa.string()),
        ("provider_usage", pa.string()),
        ("logged_provider", pa.string()),
        ("logged_model", pa.string()),
        ("recorded_cost_usd", _MONEY),
        ("cost_basis", pa.string()),
    ]
)
"""The rows that come out. `org_id` is null where the file has none; `body_lower` is the body lower-cased by Python."""


class CatalogueModel(NamedTuple):
    """A provider and a model by the catalogue's ids, and the endpoint where their price depends on it."""

    provider: str
    model: str
    endpoint: str | None = None


Normaliser = Callable[[str, str], CatalogueModel]
"""What a log's provider and model are called in the catalogue; what it does not know stays as it is."""


def is_uuid(column: str) -> str:
    """SQL of whether a text is a UUID as it is written."""
    return f"regexp_full_match({column}, '{UUID_TEXT.pattern}')"


def digest_sql(column: str) -> str:
    """SQL of what `uuid_sql` makes a UUID of: the SHA-1 of the namespace and a text."""
    namespace = "".join(f"\\x{byte:02x}" for byte in NAMESPACE.bytes)
    return f"sha1('{namespace}'::BLOB || encode({column}))"


def uuid_sql(column: str, digest: str) -> str:
    """SQL of `as_uuid`, given a column with the text's digest."""
    # A UUIDv5 is a SHA-1 with six of its bits set; the 17th digit keeps its last two.
    variant = f"substr('89ab89ab89ab89ab', strpos('0123456789abcdef', substr({digest}, 17, 1)), 1)"
    parts = [
        f"substr({digest}, 1, 8)",
        f"substr({digest}, 9, 4)",
        f"'5' || substr({digest}, 14, 3)",
    ]
    parts += [f"{variant} || substr({digest}, 18, 3)", f"substr({digest}, 21, 12)"]
    made = " || '-' || ".join(parts)
    return f"CASE WHEN {is_uuid(column)} THEN lower({column}) ELSE {made} END"


def as_uuid(text: str | None) -> str | None:
    """A UUID's canonical text: the id itself where it is one, else a UUIDv5 of it."""
    if text is None:
        return None
    given = re.fullmatch(UUID_TEXT.pattern or "", text)
    return str(UUID(text)) if given else str(uuid5(NAMESPACE, text))


class ModelNormaliser:
    """Providers and models brought to the catalogue's names, each pair once however often it comes."""

    def __init__(self, namer: Normaliser) -> None:
        self._namer = namer
        self._known: dict[tuple[str, str], CatalogueModel] = {}

    def rename(self, columns: dict[str, pa.Array]) -> None:
        """Change `provider`, `model` and an unsaid `endpoint`; what was said and is not kept goes to the `logged_` columns."""
        coded = pc.binary_join_element_wise(
            columns["provider"], columns["model"], _BETWEEN
        ).dictionary_encode()
        said = [tuple(pair.split(_BETWEEN, 1)) for pair in coded.dictionary.to_pylist()]
        known = [self._name(*pair) for pair in said]
        for n, name in enumerate(("provider", "model")):
            now = pa.array([named[n] for named in known], pa.string()).take(coded.indices)
            logged = pc.if_else(
                pc.equal(now, columns[name]), pa.scalar(None, pa.string()), columns[name]
            )
            columns[f"logged_{name}"] = pc.coalesce(
                columns[f"logged_{name}"].cast(pa.string()), logged
            )
            columns[name] = now
        endpoints = pa.array([named.endpoint for named in known], pa.string()).take(coded.indices)
        columns["endpoint"] = pc.coalesce(columns["endpoint"].cast(pa.string()), endpoints)

    def _name(self, provider: str, model: str) -> CatalogueModel:
        pair = (provider, model)
        if pair not in self._known:
            self._known[pair] = self._namer(provider, model)
        return self._known[pair]


def finish(batch: pa.RecordBatch, names: ModelNormaliser | None) -> pa.RecordBatch:
    """A batch of good rows as one of `SCHEMA`."""
    columns = {name: batch[name] for name in batch.schema.names if name in SCHEMA.names}
    if names is not None and batch.num_rows:
        names.rename(columns)
    bodies = columns.get("body")
    if bodies is not None:
        columns["body_lower"] = pa.array(
            [None if b is None else b.lower() for b in bodies.to_pylist()], pa.string()
        )
    nothing = pa.nulls(batch.num_rows)
    return pa.record_batch(
        [columns.get(f.name, nothing).cast(f.type) for f in SCHEMA], schema=SCHEMA
    )
