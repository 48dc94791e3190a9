"""Drafts the mapping of a log: names suggest the fields, and the sampled values decide the rest."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from ttplan.logs.fields import FIELDS
from ttplan.logs.mapping.decide import (
    Paths,
    cost_source,
    empty_texts,
    latency_unit,
    looks_like_models,
    provider_of,
    status_source,
    tier_source,
    time_unit,
    token_sources,
)
from ttplan.logs.mapping.filters import is_complete, skip_rules
from ttplan.logs.mapping.mapping import REQUIRED_IN_MAPPING
from ttplan.logs.mapping.names import cost_parts, id_paths, last_keys, match_names
from ttplan.logs.mapping.sample import Row, SampledRows

_COUNTED = ("input_tokens", "output_tokens")
_PARTS = (*_COUNTED, "cached_tokens", "cache_write_tokens")
_HELPERS = ("end", "total_tokens", "tool_tokens")
_MOST_JOINED = 8
_MOST_MODELS = 50


class Draft(NamedTuple):
    """A drafted mapping, and how many of the sampled rows have what a request needs."""

    mapping: dict[str, Any]
    complete: int

    @property
    def through_lists(self) -> int:
        """How many required fields are read from the first element of a list."""
        fields = self.mapping["fields"]
        sources = [fields[name] for name in REQUIRED_IN_MAPPING if name in fields]
        return sum(any("[0]." in path for path in _paths_in(source)) for source in sources)

    @property
    def missing(self) -> tuple[str, ...]:
        """The required fields without a source."""
        return tuple(name for name in REQUIRED_IN_MAPPING if name not in self.mapping["fields"])


def draft_mapping(sample: SampledRows, name: str) -> Draft:
    """The mapping that the sample suggests. No key is used twice."""
    paths = match_names(sample.keys)
    if "model" not in paths and (path := _model_path(sample, paths)) is not None:
        paths["model"] = path
    skip, rows = skip_rules(sample, paths)
    requests = sample._replace(rows=rows)
    complete = [row for row in rows if is_complete(row, paths)]
    fields = _fields(requests, paths, complete or rows)
    mapping: dict[str, Any] = {"name": name}
    if sample.at:
        mapping["rows"] = sample.at
    used = {path for source in fields.values() for path in _paths_in(source)}
    if documents := [d for d in sample.documents if any(p.startswith(f"{d}.") for p in used)]:
        mapping["documents"] = documents
    mapping["fields"] = fields
    if skip:
        mapping["skip"] = skip
    return Draft(mapping, len(complete))


def _fields(sample: SampledRows, paths: Paths, rows: list[Row]) -> dict[str, Any]:
    """The sources of the fields; `rows` are the complete ones of the sample, if any is."""
    fields: dict[str, Any] = {}
    for field, path in paths.items():
        if field not in ("id", *_HELPERS):
            source = _source(field, path, sample, paths)
            if source is not None:
                fields[field] = path if source == {"path": path} else source
    fields |= _from_total(paths) | token_sources(sample, paths)
    for field in _COUNTED:
        if field in fields and any(not _has_value(fields[field], row) for row in sample.rows):
            source = fields[field]
            fields[field] = ({"path": source} if isinstance(source, str) else source) | {
                "default": 0
            }
    if "cost_usd" not in fields and (parts := cost_parts(sample.keys)):
        fields["cost_usd"] = {"sum": parts}
    if (elapsed := _elapsed_source(sample, paths)) is not None:
        fields["latency_ms"] = _or_elapsed(fields.get("latency_ms"), elapsed, paths, rows)
    if "model" in fields and "provider" not in fields:
        # Unless it is Bedrock, the provider follows from the model's name.
        fields["provider"] = {"constant": provider_of(sample.values(paths["model"]))}
    if _is_batch(sample):
        fields["service_tier"] = {"constant": "batch"}
    if (source := _id_source(sample, fields, paths, rows)) is not None:
        fields["id"] = source
    return {field.name: fields[field.name] for field in FIELDS if field.name in fields}


def _source(field: str, path: str, sample: SampledRows, paths: Paths) -> dict[str, Any] | None:
    """A field's source at a path, with what its values need; None if they do not fit."""
    key, values = sample.keys[path], sample.values(path)
    source: dict[str, Any] = {"path": path}
    if field == "status":
        return status_source(path, values)
    if field == "service_tier":
        return tier_source(path, values)
    if field == "ts":
        unit = time_unit(key, values)
        return source | ({"unit": unit} if unit != "iso" else {})
    if field == "provider":
        return source | ({"default": "unknown"} if len(values) < len(sample.rows) else {})
    if field == "latency_ms":
        source["unit"] = latency_unit(path, sample, paths)
    elif field == "cost_usd":
        source |= cost_source(path, sample, paths)
    elif field.endswith("_tokens"):
        source |= {"unit": "tokens"} if "number with commas" in key.kinds else {}
    else:
        return source
    nulls = empty_texts(values)
    return source | ({"values": nulls} if nulls else {})


def _has_value(source: Any, row: Row) -> bool:
    """Whether a count has a value in a row."""
    paths = source.get("sum") if isinstance(source, dict) else None
    return any(path in row for path in paths or _paths_in(source))


def _model_path(sample: SampledRows, paths: Paths) -> str | None:
    """A key whose texts are names of models, if no name says so."""
    for path, key in sample.keys.items():
        is_free = key.kinds == ("text",) and path not in paths.values()
        if is_free and key.distinct <= _MOST_MODELS and looks_like_models(sample.values(path)):
            return path
    return None


def _from_total(paths: Paths) -> dict[str, Any]:
    """A count that only the total tells, as a difference."""
    known = [name for name in _COUNTED if name in paths]
    if len(known) != 1 or "total_tokens" not in paths:
        return {}
    other = next(name for name in _COUNTED if name != known[0])
    return {other: {"sum": [paths["total_tokens"]], "minus": [paths[known[0]]]}}


def _elapsed_source(sample: SampledRows, paths: Paths) -> dict[str, Any] | None:
    """The time from start to end, if both are written alike."""
    if "ts" not in paths or "end" not in paths:
        return None
    units = {
        time_unit(sample.keys[paths[name]], sample.values(paths[name])) for name in ("ts", "end")
    }
    unit = units.pop()
    if units or unit is None:
        return None
    source = {"start": paths["ts"], "end": paths["end"]}
    return source if unit == "iso" else source | {"unit": unit}


def _or_elapsed(latency: Any, elapsed: dict[str, Any], paths: Paths, rows: list[Row]) -> Any:
    """The latency, and the time from start to end in rows without one."""
    if latency is None:
        return elapsed
    has_gaps = any(paths["latency_ms"] not in row and paths["end"] in row for row in rows)
    return {"first": [latency, elapsed]} if has_gaps else latency


def _id_source(sample: SampledRows, fields: dict[str, Any], paths: Paths, rows: list[Row]) -> Any:
    """A key that every row has and no two rows share; else two of them; else what the row has."""
    candidates = [
        path for path in id_paths(sample.keys) if rows and all(path in row for row in rows)
    ]
    for path in candidates:
        if len({str(row[path]) for row in rows}) == len(rows):
            return path
    for pair in combinations(candidates[:_MOST_JOINED], 2):
        if len({tuple(str(row[path]) for path in pair) for row in rows}) == len(rows):
            return {"join": list(pair)}
    for path, key in sample.keys.items():
        is_number = key.kinds == ("number",) and float(key.low or 0).is_integer()
        free = is_number and path not in paths.values() and all(path in row for row in rows)
        if free and len({str(row[path]) for row in rows}) == len(rows) > 1:
            return path
    if "ts" not in fields or "model" not in fields:
        return None
    named = ("ts", "model", "session_id", "user_id", *_PARTS, "cost_usd")
    return {"join": [paths[name] for name in named if name in paths][:_MOST_JOINED]}


def _is_batch(sample: SampledRows) -> bool:
    """Whether the rows are results of a batch interface, which costs less."""
    names = {last_keys(path) for path in sample.keys}
    answers = ("response.body.", "result.message.")
    return "customid" in names and any(path.startswith(answers) for path in sample.keys)


def _paths_in(source: Any) -> list[str]:
    """The paths that a source reads."""
    if isinstance(source, str):
        return [source]
    if isinstance(source, list):
        return [path for part in source for path in _paths_in(part)]
    keys = ("path", "sum", "minus", "join", "start", "end", "first")
    return [path for key in keys if key in source for path in _paths_in(source[key])]
