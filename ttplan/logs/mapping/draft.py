"""Which of a log's keys may be which of our fields, by their names and the kinds of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

# What others call our fields, likelier names first; compared without case and punctuation, with as much of the path as is given.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "id": ("requestid", "generationid", "callid", "spanid", "id", "uuid", "responseid"),
    "ts": (
        "starttime",
        "timestamp",
        "requestcreatedat",
        "createdat",
        "requesttime",
        "startedat",
        "datetime",
        "time",
        "date",
        "ts",
    ),
    "provider": (
        "customllmprovider",
        "provider",
        "providername",
        "modelprovider",
        "vendor",
        "llmprovider",
        "system",
        "service",
    ),
    "model": (
        "model",
        "modelname",
        "modelid",
        "requestmodel",
        "responsemodel",
        "modelpermaslug",
        "engine",
        "deployment",
        "llm",
    ),
    "input_tokens": (
        *(
            "inputtokens",
            "prompttokens",
            "inputtokencount",
            "prompttokencount",
            "tokensin",
            "tokensprompt",
            "usageinput",
        ),
        *("ntokensinput", "contexttokens", "requesttokens", "promptlength", "prompt", "input"),
    ),
    "output_tokens": (
        *(
            "outputtokens",
            "completiontokens",
            "outputtokencount",
            "candidatestokencount",
            "tokensout",
            "tokenscompletion",
        ),
        *(
            "usageoutput",
            "generatedtokens",
            "responsetokens",
            "completionlength",
            "completion",
            "output",
        ),
    ),
    "cached_tokens": (
        *(
            "cachedtokens",
            "cachereadinputtokens",
            "cachereadtokens",
            "cachedinputtokens",
            "cachedcontenttokencount",
            "tokenscached",
        ),
        "promptcachereadtokens",
    ),
    "cost_usd": (
        "costusd",
        "costcents",
        "totalcostusd",
        "totalcost",
        "costtotal",
        "spend",
        "responsecost",
        "cost",
        "priceusd",
        "pricecents",
        "price",
        "amountusd",
        "usd",
    ),
    "cached": ("cachehit", "fromcache", "cached", "cacheenabled"),
    "latency_ms": (
        "latencyms",
        "durationms",
        "responsetimems",
        "elapsedms",
        "delayms",
        "generationtimems",
        "latency",
        "duration",
        "responsetime",
        "ms",
    ),
    "status": ("statuscode", "httpstatus", "responsestatus", "status"),
    "tag": ("tag", "feature", "task", "usecase", "route", "requesttags", "tags"),
    "finish_reason": ("finishreason", "stopreason", "finishreasonnormalized", "finishreasons"),
    "session_id": ("sessionid", "conversationid", "threadid", "chatid"),
    "user_id": ("userid", "enduser", "customerid", "user"),
    "api_key_id": ("apikeyid", "keyid", "apikeyhash", "apikeyname"),
    "cache_write_tokens": (
        "cachecreationinputtokens",
        "cachewritetokens",
        "cachewriteinputtokens",
        "promptcachewritetokens",
    ),
    "reasoning_tokens": ("reasoningtokens", "thoughtstokencount", "tokensreasoning"),
    "input_audio_tokens": ("inputaudiotokens", "promptaudiotokens"),
    "output_audio_tokens": ("outputaudiotokens", "completionaudiotokens"),
    "streamed": ("stream", "streamed", "streaming", "isstreaming"),
    "service_tier": ("servicetier", "tier"),
}
_COUNTS = frozenset(name for name in _SYNONYMS if name.endswith("_tokens")) | {
    "latency_ms",
    "cost_usd",
    "status",
}
_FLAGS = ("cached", "streamed")


class KeySummary(NamedTuple):
    """A key of the sampled rows: how many rows have a value there, how many different ones, of which kinds, and the range of
    numbers and times."""

    path: str
    rows: int
    different: int
    kinds: tuple[str, ...]
    low: str | None
    high: str | None


def draft_fields(seen: Iterable[KeySummary]) -> dict[str, Any]:
    """Our fields, as far as a key's name and its values say which they are. No key is taken twice."""
    known = {one.path: one for one in seen}
    taken: set[str] = set()
    found: dict[str, Any] = {}
    for name, synonyms in _SYNONYMS.items():
        path = next(
            (
                path
                for synonym in synonyms
                for path in _named(known, synonym, name)
                if path not in taken
            ),
            None,
        )
        if path is not None:
            taken.add(path)
            found[name] = _declared(name, known[path])
    times = [
        path for path, one in known.items() if any(kind.startswith("time ") for kind in one.kinds)
    ]
    if "ts" not in found and len(times) == 1:
        found["ts"] = _declared("ts", known[times[0]])
    return {name: found[name] for name in _SYNONYMS if name in found}


def _named(known: dict[str, KeySummary], synonym: str, field: str) -> Iterator[str]:
    """Paths whose last keys are a synonym, the shortest first."""
    for path in sorted(known, key=lambda path: (path.count("."), path)):
        plain = [re.sub(r"[^a-z0-9]", "", part.lower()) for part in path.split(".")]
        if (plain[-1] == synonym or "".join(plain[-2:]) == synonym) and _fits(field, known[path]):
            yield path


def _fits(field: str, seen: KeySummary) -> bool:
    if field in _COUNTS:
        return "number" in seen.kinds
    if field == "ts":
        return _time_unit(seen) is not None
    if field in _FLAGS:
        return seen.kinds == ("true or false",)
    if field == "id" and seen.different < seen.rows:
        return False
    return not {"object", "list"} & set(seen.kinds)


def _declared(field: str, seen: KeySummary) -> Any:
    last = re.sub(r"[^a-z0-9]", "", seen.path.lower().rsplit(".", 1)[-1])
    unit = None
    if field == "ts":
        unit = _time_unit(seen)
    elif field == "latency_ms":
        unit = "ms" if last.endswith("ms") or float(seen.high or 0) > 1000 else "s"
    elif field == "cost_usd" and "cent" in last:
        unit = "cents"
    return seen.path if unit in (None, "iso") else {"path": seen.path, "unit": unit}


def _time_unit(seen: KeySummary) -> str | None:
    if any("time" in kind for kind in seen.kinds):
        return "iso" if seen.kinds == ("time with zone",) else "iso_utc"
    if seen.kinds != ("number",) or seen.low is None:
        return None
    since = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
    units = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
    return next(
        (
            unit
            for unit, per in units.items()
            if since <= float(seen.low) / per <= since + 100 * 366 * 86_400
        ),
        None,
    )
