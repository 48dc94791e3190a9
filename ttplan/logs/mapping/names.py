"""Guesses which keys of a log are which fields, by their names and the kinds of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from ttplan.logs.mapping.paths import Entry, Only, parse_path
from ttplan.logs.mapping.sample import KeySummary

# Other tools' names of the fields, the likeliest first. They are compared without case and
# punctuation, with the last key of a path or the last two. `end`, `total_tokens` and `tool_tokens`
# are not fields, but help to decide what the others mean.
_SYNONYMS = {
    "id": "requestid generationid callid spanid id uuid responseid messageid customid eventid "
    "logid correlationid runid",
    "ts": "starttime starttimeunixnano timestamp requestcreatedat createdat timecreated created "
    "requesttime startedat datetime timegeneratedutc timegenerated loggingtime eventtimestamp "
    "timeunixnano time date ts",
    "end": "endtime endtimeunixnano endedat finishedat completedat timecompleted responsetime",
    "provider": "customllmprovider providerid provider providername modelprovider vendor "
    "llmprovider genaiprovidername genaisystem system service",
    "model": "responsemodel modelname modelid model requestmodel modelpermaslug engine "
    "deploymentname deployment llmmodel llm",
    "input_tokens": "inputtokens prompttokens inputtokencount prompttokencount tokensin "
    "tokensprompt usageinput tokensinput ntokensinput contexttokens requesttokens promptlength "
    "tokencountprompt inputwocachewrite prompt input",
    "output_tokens": "outputtokens completiontokens outputtokencount candidatestokencount "
    "tokensout tokenscompletion usageoutput tokensoutput generatedtokens responsetokens "
    "completionlength tokencountcompletion completion output",
    "cached_tokens": "cachereadinputtokens cachereadinputtokencount cachereadtokens cachedtokens "
    "cachedinputtokens cachedcontenttokencount tokenscached promptcachereadtokens cacheread",
    "cost_usd": "costusd costcents totalcostusd totalcost costtotal spend responsecost cost "
    "priceusd pricecents price amountusd usd quota",
    "cached": "cachehit fromcache cached cacheenabled",
    "latency_ms": "latencyms durationms responsetimems elapsedms delayms generationtimems latency "
    "duration responsetime requestlatency usetime elapsed ms",
    "status": "statuscode httpstatus responsestatus status success ok state errorname errorcode "
    "errortype error",
    "tag": "tag feature task usecase route requesttags tags",
    "finish_reason": "finishreason stopreason finishreasonnormalized finishreasons finish",
    "session_id": "sessionid conversationid threadid chatid traceid",
    "user_id": "userid enduser customerid user",
    "api_key_id": "apikeyid keyid apikeyhash apikeyname",
    "prompt_hash": "prompthash cachekey bodyhash requesthash",
    "cache_write_tokens": "cachecreationinputtokens cachewritetokens cachewriteinputtokens "
    "cachewriteinputtokencount promptcachewritetokens cachecreationtokens inputwcachewrite "
    "cachewrite",
    "reasoning_tokens": "reasoningtokens thoughtstokencount tokensreasoning",
    "input_audio_tokens": "inputaudiotokens promptaudiotokens",
    "output_audio_tokens": "outputaudiotokens completionaudiotokens",
    "streamed": "stream streamed streaming isstreaming isstream isstreamcompletion",
    "service_tier": "servicetier traffictype tier",
    "total_tokens": "totaltokens totaltokencount tokenstotal tokencounttotal total",
    "tool_tokens": "tooluseprompttokencount",
}
_TOKENS = tuple(field for field in _SYNONYMS if field.endswith("_tokens"))
_NUMBERS = {*_TOKENS, "latency_ms", "cost_usd"}
_FLAGS = ("cached", "streamed")
# Words of keys that count tokens, for names that no tool above uses: one of the first group, and
# none of the second.
_WORDS = {
    "cached_tokens": ("cache cached", "write writes written creation create created miss"),
    "cache_write_tokens": ("cache", "read reads hit hits miss"),
    "reasoning_tokens": ("reasoning thinking thoughts thought", ""),
    "input_tokens": ("input in prompt request sent context", "cache cached output audio image"),
    "output_tokens": (
        "output out completion response generated received candidates answer",
        "cache cached audio image reasoning thinking thoughts",
    ),
    "total_tokens": ("total all", "cache cached"),
    "latency_ms": ("latency duration elapsed took delay", "limit max timeout"),
    "cost_usd": (
        "cost spend price charge charged fee fees",
        "per rate limit max budget input prompt output completion cache cached unit saved savings",
    ),
    "ts": ("at time timestamp created started start date ts epoch when", "end ended until"),
}
_COSTS = {"cost", "spend", "price", "charge"}
_RATES = {"per", "rate", "unit", "million", "mtok"}
_WRITES = {"write", "writes", "written", "creation", "create", "created"}
_NO_COUNT = frozenset(
    [
        "cost",
        "price",
        "usd",
        "cents",
        "spend",
        "rate",
        "limit",
        "max",
        "budget",
        "per",
        "quota",
        "remaining",
        "ratio",
    ]
)
_COUNTS = frozenset(["token", "tokens", "tok", "toks", "count", "ntokens", "tokencount", "usage"])


def match_names(keys: Mapping[str, KeySummary]) -> dict[str, str]:
    """The path that each field, and each helper, is likely to have. No path is used twice."""
    used: set[str] = set()
    paths: dict[str, str] = {}

    def use(field: str, candidates: Iterable[str]) -> None:
        free = [path for path in candidates if path not in used]
        if field not in paths and free:
            # A name that says "tokens" counts if more rows have it, whatever its place in the list.
            tokens = [p for p in free if field in _TOKENS and "token" in last_keys(p, 2)]
            paths[field] = max(tokens, key=lambda path: keys[path].rows) if tokens else free[0]
            used.add(paths[field])

    by_name = _by_name(keys)
    for field, synonyms in _SYNONYMS.items():
        named = [path for synonym in synonyms.split() for path in by_name.get(synonym, ())]
        use(field, [path for path in named if _fits(field, keys[path])])
    for field in _WORDS:
        use(field, [path for path in keys if _says(path, field) and _fits(field, keys[path])])
    for field in ("model", "provider"):
        named = [p for p in keys if (words(p)[-1:] == (field,) or words(p)[-2:] == (field, "name"))]
        use(field, [path for path in named if _fits(field, keys[path])])
    # Of several times the one that most rows have, and the earliest of these.
    times = [p for p, key in keys.items() if is_time(key) or (_fits("ts", key) and _says(p, "ts"))]
    use("ts", sorted(times, key=lambda path: (-keys[path].rows, keys[path].low or "")))
    return paths


def cost_parts(keys: Mapping[str, KeySummary]) -> list[str]:
    """The paths of the costs of input and output, if both are there."""
    costs = [p for p in keys if set(words(p)) & _COSTS and _fits("cost_usd", keys[p])]
    sides = [
        next(
            (path for path in costs if set(words(path)) & names and not set(words(path)) & _RATES),
            "",
        )
        for names in ({"input", "prompt"}, {"output", "completion"})
    ]
    return sides if all(sides) else []


def id_paths(keys: Mapping[str, KeySummary]) -> list[str]:
    """The paths that may be an id, the likeliest first, then other keys that are named one."""
    by_name = _by_name(keys)
    named = [path for synonym in _SYNONYMS["id"].split() for path in by_name.get(synonym, ())]
    others = [p for p in keys if words(p)[-1:] == ("id",)]
    return [path for path in dict.fromkeys([*named, *others]) if _fits("id", keys[path])]


def last_name(path: str) -> str:
    """The last key of a path, for a message."""
    return _keys(path)[-1]


@cache
def last_keys(path: str, count: int = 1) -> str:
    """The last keys of a path as one word, without case and punctuation."""
    return _plain("".join(_keys(path)[-count:]))


@cache
def words(path: str) -> tuple[str, ...]:
    """The words of the last keys of a path, in lower case."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", " ".join(_keys(path)[-3:]))
    return tuple(re.findall(r"[a-z]+", text.lower()))


def is_time(key: KeySummary) -> bool:
    """Whether the values at a key are times in writing."""
    return bool(key.kinds) and all(k.startswith("time ") or k == "date" for k in key.kinds)


@cache
def _keys(path: str) -> tuple[str, ...]:
    """The keys of a path that name something. A key with dots is several."""
    names: list[str] = []
    for step in parse_path(path):
        text = step.text if isinstance(step, Entry) else step
        if isinstance(text, str):
            names += [name for name in text.split(".") if name]
    if isinstance(parse_path(path)[-1], Only) or names[-1].lower() in ("value", "stringvalue"):
        names = names[:-1] or names
    return tuple(names)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _by_name(keys: Mapping[str, KeySummary]) -> dict[str, list[str]]:
    """The paths by their last key, and their last two and three, the shortest first."""
    by_name: dict[str, list[str]] = {}
    for path in sorted(keys, key=lambda path: (len(_keys(path)), path)):
        for name in dict.fromkeys(last_keys(path, count) for count in (1, 2, 3)):
            by_name.setdefault(name, []).append(path)
    return by_name


def _fits(field: str, key: KeySummary) -> bool:
    kinds = set(key.kinds)
    if field == "latency_ms":
        return bool(kinds & {"number", "duration"})
    if field in _NUMBERS:
        return bool(kinds & {"number", "amount", "number with commas"})
    if field in ("ts", "end"):
        return is_time(key) or (kinds == {"number"} and float(key.low or 0) > 10**8)
    if field in _FLAGS:
        return kinds == {"true or false"} or (
            kinds == {"number"} and key.low in ("0", "1") and key.high in ("0", "1")
        )
    if field == "status":
        return kinds <= {"number", "text", "true or false"}
    return not {"object", "list"} & kinds


def _says(path: str, field: str) -> bool:
    """Whether the words of a path say what it is, as `_WORDS` has them."""
    some, none = (set(group.split()) for group in _WORDS[field])
    present = set(words(path))
    if field.endswith("_tokens"):
        is_write = field != "cache_write_tokens" or bool(present & _WRITES)
        return (
            bool(present & some and present & _COUNTS)
            and is_write
            and not present & (none | _NO_COUNT)
        )
    return bool(present & some) and not present & none
