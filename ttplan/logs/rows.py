"""The rows read from every log: their schema, their ids, and their normalised model names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import pyarrow as pa
import pyarrow.compute as pc

from ttplan.logs.fields import UUID_TEXT
from ttplan.logs.hashes import hash_columns
from ttplan.prices.names import find_listed

NAMESPACE = uuid5(NAMESPACE_URL, "ttplan:requests")
"""Namespace of the UUIDs of ids that are not UUIDs; the original id is kept as `source_id`."""
_SEPARATOR = "\x00"
"""Separates a provider and a model; it occurs in neither."""
_MONEY = pa.decimal128(38, 12)
REQUEST_SCHEMA = pa.schema(
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
        ("cache_write_1h_tokens", pa.int64()),
        ("web_searches", pa.int64()),
        ("usage_reading", pa.string()),
        ("prompt_hash", pa.string()),
        ("answer_hash", pa.string()),
    ]
)
"""The rows. `org_id` is null if the file has none; Python lower-cases the body to `body_lower`."""


class CatalogueModel(NamedTuple):
    """The catalogue's ids of a provider and a model, and the endpoint if it affects the price."""

    provider: str
    model: str
    endpoint: str | None = None


Normaliser = Callable[[str, str], CatalogueModel]
"""Maps a logged provider and model to the catalogue's ids; unknown ones stay as they are."""


def is_uuid(column: str) -> str:
    """SQL: whether a text is a UUID."""
    return f"regexp_full_match({column}, '{UUID_TEXT.pattern}')"


def digest_sql(column: str) -> str:
    """SQL: the SHA-1 that `uuid_sql` makes a UUID of."""
    namespace = "".join(f"\\x{byte:02x}" for byte in NAMESPACE.bytes)
    return f"sha1('{namespace}'::BLOB || encode({column}))"


def uuid_sql(column: str, digest: str) -> str:
    """SQL: `as_uuid`, given a column with the digest of the text."""
    # A UUIDv5 is a SHA-1 with six bits set; the 17th digit keeps its last two bits.
    variant = f"substr('89ab89ab89ab89ab', strpos('0123456789abcdef', substr({digest}, 17, 1)), 1)"
    parts = [
        f"substr({digest}, 1, 8)",
        f"substr({digest}, 9, 4)",
        f"'5' || substr({digest}, 14, 3)",
        f"{variant} || substr({digest}, 18, 3)",
        f"substr({digest}, 21, 12)",
    ]
    uuid = " || '-' || ".join(parts)
    return f"CASE WHEN {is_uuid(column)} THEN lower({column}) ELSE {uuid} END"


def as_uuid(text: str | None) -> str | None:
    """The canonical text of a UUID: of the id itself if it is one, else of its UUIDv5."""
    if text is None:
        return None
    is_valid = re.fullmatch(UUID_TEXT.pattern or "", text)
    return str(UUID(text) if is_valid else uuid5(NAMESPACE, text))


class ModelNormaliser:
    """Normalises the providers and models of batches, each distinct combination once."""

    def __init__(self, normalise: Normaliser) -> None:
        self._normalise = normalise
        self._cache: dict[tuple[str, str, str], CatalogueModel] = {}

    def normalise(self, columns: dict[str, pa.Array], resolved: pa.Array | None = None) -> None:
        """Replace `provider`, `model` and a missing `endpoint`; logged names that change are kept
        in the `logged_` columns. `resolved` are the models that names without a price stand for."""
        nothing = pa.scalar("", pa.string())
        names = [columns["provider"], columns["model"]]
        names.append(nothing if resolved is None else pc.coalesce(resolved.cast(pa.string()), ""))
        keys = pc.binary_join_element_wise(*names, _SEPARATOR).dictionary_encode()
        models = [self._lookup(*key.split(_SEPARATOR, 2)) for key in keys.dictionary.to_pylist()]
        for n, name in enumerate(("provider", "model")):
            normalised = pa.array([m[n] for m in models], pa.string()).take(keys.indices)
            logged = pc.if_else(
                pc.equal(normalised, columns[name]), pa.scalar(None, pa.string()), columns[name]
            )
            logged_name = f"logged_{name}"
            columns[logged_name] = pc.coalesce(columns[logged_name].cast(pa.string()), logged)
            columns[name] = normalised
        endpoints = pa.array([m.endpoint for m in models], pa.string()).take(keys.indices)
        columns["endpoint"] = pc.coalesce(columns["endpoint"].cast(pa.string()), endpoints)

    def _lookup(self, provider: str, model: str, resolved: str) -> CatalogueModel:
        key = (provider, model, resolved)
        if key not in self._cache:
            names = self._normalise(provider, model)
            if resolved and not _is_listed(names):
                other = self._normalise(provider, resolved)
                names = other if _is_listed(other) else names
            self._cache[key] = names
        return self._cache[key]


def _is_listed(names: CatalogueModel) -> bool:
    return find_listed(names.provider, names.model) is not None


def finish(batch: pa.RecordBatch, normaliser: ModelNormaliser | None) -> pa.RecordBatch:
    """A batch of usable rows as one of `REQUEST_SCHEMA`."""
    columns = {name: batch[name] for name in batch.schema.names}
    if normaliser is not None and batch.num_rows:
        normaliser.normalise(columns, columns.get("resolved_model"))
    if (bodies := columns.get("body")) is not None:
        lowered = [None if body is None else body.lower() for body in bodies.to_pylist()]
        columns["body_lower"] = pa.array(lowered, pa.string())
    hash_columns(columns, batch.num_rows)
    nulls = pa.nulls(batch.num_rows)
    return pa.record_batch(
        [columns.get(f.name, nulls).cast(f.type) for f in REQUEST_SCHEMA], schema=REQUEST_SCHEMA
    )
