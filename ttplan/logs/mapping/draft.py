"""Guesses which keys of a log are which fields, by their names and the kinds of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

# Other tools' names of the fields, the likeliest first. They are compared without case and
# punctuation, with the last key of a path or the last two.
_SYNONYMS = {
    "id": "requestid generationid callid spanid id uuid responseid",
    "ts": "starttime timestamp requestcreatedat createdat requesttime startedat datetime "
    "time date ts",
    "provider": "customllmprovider provider providername modelprovider vendor llmprovider system "
    "service",
    "model": "model modelname modelid requestmodel responsemodel modelpermaslug engine "
    "deployment llm",
    "input_tokens": "inputtokens prompttokens inputtokencount prompttokencount tokensin "
    "tokensprompt usageinput ntokensinput contexttokens requesttokens promptlength prompt input",
    "output_tokens": "outputtokens completiontokens outputtokencount candidatestokencount "
    "tokensout tokenscompletion usageoutput generatedtokens responsetokens completionlength "
    "completion output",
    "cached_tokens": "cachedtokens cachereadinputtokens cachereadtokens cachedinputtokens "
    "cachedcontenttokencount tokenscached promptcachereadtokens",
    "cost_usd": "costusd costcents totalcostusd totalcost costtotal spend responsecost cost "
    "priceusd pricecents price amountusd usd",
    "cached": "cachehit fromcache cached cacheenabled",
    "latency_ms": "latencyms durationms responsetimems elapsedms delayms generationtimems latency "
    "duration responsetime ms",
    "status": "statuscode httpstatus responsestatus status",
    "tag": "tag feature task usecase route requesttags tags",
    "finish_reason": "finishreason stopreason finishreasonnormalized finishreasons",
    "session_id": "sessionid conversationid threadid chatid",
    "user_id": "userid enduser customerid user",
    "api_key_id": "apikeyid keyid apikeyhash apikeyname",
    "prompt_hash": "prompthash cachekey bodyhash requesthash",
    "cache_write_tokens": "cachecreationinputtokens cachewritetokens cachewriteinputtokens "
    "promptcachewritetokens",
    "reasoning_tokens": "reasoningtokens thoughtstokencount tokensreasoning",
    "input_audio_tokens": "inputaudiotokens promptaudiotokens",
    "output_audio_tokens": "outputaudiotokens completionaudiotokens",
    "streamed": "stream streamed streaming isstreaming",
    "service_tier": "servicetier tier",
}
_NUMBERS = {f for f in _SYNONYMS if f.endswith("_tokens")} | {"latency_ms", "cost_usd", "status"}
_FLAGS = ("cached", "streamed")
_PER_SECOND = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
_YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_CENTURY_SECONDS = 100 * 366 * 86_400


class KeySummary(NamedTuple):
    """The values at a key of the sampled rows: how many, how many distinct ones, of which kinds,
    and the range of numbers and times."""

    path: str
    rows: int
    distinct: int
    kinds: tuple[str, ...]
    low: str | None
    high: str | None


def draft_fields(keys: Iterable[KeySummary]) -> dict[str, Any]:
    """The field sources that names and values suggest. No key is used twice."""
    by_path = {key.path: key for key in keys}
    used: set[str] = set()
    fields: dict[str, Any] = {}
    for name, synonyms in _SYNONYMS.items():
        candidates = (p for s in synonyms.split() for p in _matching_paths(by_path, s, name))
        path = next((path for path in candidates if path not in used), None)
        if path is not None:
            used.add(path)
            fields[name] = _field_source(name, by_path[path])
    times = [key for key in by_path.values() if any(k.startswith("time ") for k in key.kinds)]
    if "ts" not in fields and len(times) == 1:
        fields["ts"] = _field_source("ts", times[0])
    return {name: fields[name] for name in _SYNONYMS if name in fields}


def _matching_paths(by_path: dict[str, KeySummary], synonym: str, field: str) -> Iterator[str]:
    """The paths whose last key, or last two, are a synonym, the shortest first."""
    for path in sorted(by_path, key=lambda path: (path.count("."), path)):
        keys = [re.sub(r"[^a-z0-9]", "", key.lower()) for key in path.split(".")]
        if synonym in (keys[-1], "".join(keys[-2:])) and _fits(field, by_path[path]):
            yield path


def _fits(field: str, key: KeySummary) -> bool:
    if field in _NUMBERS:
        return "number" in key.kinds
    if field == "ts":
        return _time_unit(key) is not None
    if field in _FLAGS:
        return key.kinds == ("true or false",)
    if field == "id" and key.distinct < key.rows:
        return False
    return not {"object", "list"} & set(key.kinds)


def _field_source(field: str, key: KeySummary) -> Any:
    last = re.sub(r"[^a-z0-9]", "", key.path.lower().rsplit(".", 1)[-1])
    unit = None
    if field == "ts":
        unit = _time_unit(key)
    elif field == "latency_ms":
        unit = "ms" if last.endswith("ms") or float(key.high or 0) > 1000 else "s"
    elif field == "cost_usd" and "cent" in last:
        unit = "cents"
    return key.path if unit in (None, "iso") else {"path": key.path, "unit": unit}


def _time_unit(key: KeySummary) -> str | None:
    if any("time" in kind for kind in key.kinds):
        return "iso" if key.kinds == ("time with zone",) else "iso_utc"
    if key.kinds != ("number",) or key.low is None:
        return None
    seconds = {unit: float(key.low) / per for unit, per in _PER_SECOND.items()}
    until = _YEAR_2000 + _CENTURY_SECONDS
    return next((unit for unit, s in seconds.items() if _YEAR_2000 <= s <= until), None)
