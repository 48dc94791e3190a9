"""What the values of a sample say about a field: its unit, and what counts are parts of others."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any

from genai_prices import Usage, calc_price

from ttplan.logs.mapping.names import is_time, last_keys, words
from ttplan.logs.mapping.sample import KeySummary, SampledRows, as_text, number
from ttplan.logs.model_names import normalise_model

Paths = dict[str, str]
Source = dict[str, Any]
_PER_SECOND = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
_YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_CENTURY_SECONDS = 100 * 366 * 86_400
_DURATION_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DURATION_WORDS = {
    "ms": "ms millis milliseconds msec",
    "s": "s sec secs seconds",
    "us": "us micros microseconds",
    "ns": "ns nano nanos nanoseconds",
}
_NO_VALUE = frozenset(
    ["none", "null", "nan", "n/a", "na", "nil", "-", "--", "undefined", "included"]
)
_SUCCESSES = frozenset(
    [
        "ok",
        "success",
        "succeeded",
        "successful",
        "completed",
        "complete",
        "done",
        "finished",
        "true",
        "t",
        "unset",
        "status_code_ok",
        "status_code_unset",
    ]
)
FAILURES = frozenset(
    [
        "error",
        "failed",
        "failure",
        "fail",
        "cancelled",
        "canceled",
        "timeout",
        "aborted",
        "false",
        "f",
        "status_code_error",
    ]
)
_MONEY_UNITS: dict[str, tuple[float, dict[str, Any]]] = {
    "usd": (1.0, {}),
    "cents": (1e-2, {"unit": "cents"}),
    "micro_usd": (1e-6, {"unit": "micro_usd"}),
    "nano_usd": (1e-9, {"unit": "nano_usd"}),
    # new-api and its relatives count 500,000 units to a USD.
    "quota": (2e-6, {"factor": 0.000002}),
}
_PARTS_OF_INPUT = ("cached_tokens", "cache_write_tokens", "tool_tokens")
_LEAST_AGREEING = 0.9
_BEDROCK = re.compile(
    r"arn:aws[\w-]*:bedrock:|([a-z-]{2,6}\.)?"
    r"(anthropic|amazon|meta|mistral|cohere|ai21|deepseek|stability|openai|qwen)\.[\w.-]+"
)


def time_unit(key: KeySummary, values: Sequence[Any]) -> str | None:
    """The unit of the times at a key; None if they are no times."""
    if is_time(key):
        if "date" in key.kinds:
            return _date_order(values)
        return "iso" if key.kinds == ("time with zone",) else "iso_utc"
    if key.kinds != ("number",) or key.low is None:
        return None
    seconds = {unit: float(key.low) / per for unit, per in _PER_SECOND.items()}
    until = _YEAR_2000 + _CENTURY_SECONDS
    return next((unit for unit, s in seconds.items() if _YEAR_2000 <= s <= until), None)


def _date_order(values: Sequence[Any]) -> str:
    """Whether the month or the day is first. If both are possible, the order in which the log spans
    fewer days; the month if it is the same."""
    numbers = [[int(part) for part in _digits(str(value))[:2]] for value in values]
    if any(first > 12 for first, _ in numbers):
        return "dmy"
    if any(second > 12 for _, second in numbers):
        return "mdy"
    spans = {
        unit: max(days) - min(days)
        for unit, days in (
            ("mdy", [first * 31 + second for first, second in numbers]),
            ("dmy", [second * 31 + first for first, second in numbers]),
        )
    }
    return min(spans, key=lambda unit: spans[unit])


def _digits(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


def latency_unit(path: str, sample: SampledRows, paths: Paths) -> str:
    """The unit of durations: as the name says, else as the times of the row do, else by size."""
    if "duration" in sample.keys[path].kinds:
        return "interval"
    last = words(path)[-1] if words(path) else ""
    for unit, names in _DURATION_WORDS.items():
        if last in names.split():
            return unit
    durations = [v for value in sample.values(path) if (v := number(value)) is not None and v > 0]
    if not durations:
        return "ms"
    typical = float(statistics.median(durations))
    if elapsed := [s for row in sample.rows if (s := _elapsed(row, sample, paths))]:
        seconds = statistics.median(elapsed)
        return min(
            _DURATION_UNITS,
            key=lambda unit: abs(math.log(typical / _DURATION_UNITS[unit] / seconds)),
        )
    whole = all(duration == duration.to_integral_value() for duration in durations)
    if typical >= 10**7:
        return "ns" if typical >= 10**8 else "us"
    return "ms" if typical > 1000 or (whole and typical >= 100) else "s"


def _elapsed(row: dict[str, Any], sample: SampledRows, paths: Paths) -> float | None:
    """The seconds between the two times of a row, if they are numbers or ISO times."""
    if "ts" not in paths or "end" not in paths:
        return None
    seconds = []
    for path in (paths["ts"], paths["end"]):
        unit = time_unit(sample.keys[path], sample.values(path))
        try:
            if unit in _PER_SECOND:
                seconds.append(float(row[path]) / _PER_SECOND[unit])
            else:
                seconds.append(datetime.fromisoformat(str(row[path])).timestamp())
        except (KeyError, ValueError):
            return None
    return seconds[1] - seconds[0] if seconds[1] > seconds[0] else None


def cost_source(path: str, sample: SampledRows, paths: Paths) -> dict[str, Any]:
    """The unit or factor of costs: as the name or the values say, else what list prices say."""
    names = set(words(path))
    for unit, marks in (
        ("cents", {"cent", "cents"}),
        ("micro_usd", {"micro", "micros", "microusd", "microdollars"}),
        ("nano_usd", {"nano", "nanos", "nanousd", "nanodollars"}),
    ):
        if names & marks:
            return {"unit": unit}
    if {"amount", "number with commas"} & set(sample.keys[path].kinds):
        return {"unit": "usd"}
    if last_keys(path) == "quota":
        return _MONEY_UNITS["quota"][1]
    if names & {"usd", "dollars"}:
        return {}
    ratios = [r for row in sample.rows[:100] if (r := _to_list_price(row, path, paths))]
    if len(ratios) < 3:
        return {}
    typical = statistics.median(ratios)
    units = {unit: scale for unit, (scale, _) in _MONEY_UNITS.items() if unit != "quota"}
    nearest = min(units, key=lambda unit: abs(math.log(typical * units[unit])))
    # A discount, or a price of before, is no other unit.
    return _MONEY_UNITS[nearest][1] if abs(math.log(typical * units[nearest])) < math.log(4) else {}


def _to_list_price(row: dict[str, Any], path: str, paths: Paths) -> float | None:
    """The cost of a row as a multiple of its list price."""
    values = {
        name: number(row.get(paths.get(name, ""), 0)) or Decimal(0)
        for name in ("input_tokens", "output_tokens", "cached_tokens")
    }
    cost, model = number(row.get(path)), row.get(paths.get("model", ""))
    if not cost or cost < 0 or not isinstance(model, str):
        return None
    provider = str(row.get(paths.get("provider", ""), "unknown"))
    named = normalise_model(provider, model)
    cached = min(values["cached_tokens"], values["input_tokens"])
    usage = Usage(
        input_tokens=int(values["input_tokens"]),
        cache_read_tokens=int(cached),
        output_tokens=int(values["output_tokens"]),
    )
    try:
        price = calc_price(usage, model_ref=named.model, provider_id=named.provider).total_price
    except (LookupError, ValueError):
        return None
    return float(cost / price) if price > 0 else None


def token_sources(sample: SampledRows, paths: Paths) -> dict[str, dict[str, Any]]:
    """The sources of the input and the output, if they are not their own keys alone.

    A total decides: the sums that it is the total of. If these differ from row to row, the input is
    what the total has beside the output. Without a total, a part that is greater than the whole is
    beside it; Google counts thoughts beside candidates.
    """
    sides = {"input_tokens": _PARTS_OF_INPUT, "output_tokens": ("reasoning_tokens",)}
    parts = {
        side: [part for part in names if part in paths]
        for side, names in sides.items()
        if side in paths
    }
    counts = [_row_counts(row, paths) for row in sample.rows]
    chosen = _by_total([c for c in counts if c.get("total_tokens")], parts)
    if chosen is not None and len(chosen) > 1:
        less = [paths["output_tokens"], *(paths[part] for part in chosen[1]["output_tokens"])]
        beside = {"sum": [paths["total_tokens"]], "minus": less}
        return {"input_tokens": beside} | _sums(paths, {"output_tokens": less[1:]})
    added = (
        {side: [*names] for side, names in chosen[0].items()} if chosen else _by_size(paths, parts)
    )
    for side, some in (
        ("input_tokens", ("cached_tokens", "cache_write_tokens")),
        ("output_tokens", ("reasoning_tokens",)),
    ):
        # The total may leave out what is cached.
        is_more = any(sum(c.get(p, 0) for p in some) > c.get(side, math.inf) for c in counts)
        if is_more and not set(added.get(side, ())) & set(some):
            added[side] = [*added.get(side, ()), *(p for p in some if p in paths)]
    return _sums(paths, {side: [paths[part] for part in names] for side, names in added.items()})


def _sums(paths: Paths, added: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    return {side: {"sum": [paths[side], *parts]} for side, parts in added.items() if parts}


def _by_size(paths: Paths, parts: dict[str, list[str]]) -> dict[str, list[str]]:
    """The parts that Google counts beside the others."""
    if "candidates" not in words(paths.get("output_tokens", "x")):
        return {}
    return {
        side: [part for part in names if part in ("tool_tokens", "reasoning_tokens")]
        for side, names in parts.items()
    }


def _row_counts(row: dict[str, Any], paths: Paths) -> dict[str, int]:
    counts = {}
    for name, path in paths.items():
        if name.endswith("_tokens") and (value := number(row.get(path))) is not None:
            counts[name] = int(value)
    return counts


def _by_total(
    counts: list[dict[str, int]], parts: dict[str, list[str]]
) -> list[dict[str, tuple[str, ...]]] | None:
    """The parts beside each side with which rows add up to their total, as few as possible: one
    choice if it explains nearly all rows, several if each row has one; None if they do not."""
    if not counts or len(parts) < 2:
        return None
    choices = [
        dict(zip(parts, chosen, strict=True))
        for chosen in product(*(_subsets(names) for names in parts.values()))
    ]
    choices.sort(key=lambda choice: sum(map(len, choice.values())))
    explained = {
        n: {i for i, row in enumerate(counts) if _adds_up(row, choice)}
        for n, choice in enumerate(choices)
    }
    least = _LEAST_AGREEING * len(counts)
    best = max(explained, key=lambda n: (len(explained[n]), -n))
    if len(explained[best]) >= least:
        return [choices[best]]
    alike = [n for n in explained if choices[n]["output_tokens"] == choices[best]["output_tokens"]]
    together = set().union(*(explained[n] for n in alike))
    return [choices[n] for n in alike] if len(together) >= least else None


def _adds_up(counts: dict[str, int], choice: dict[str, tuple[str, ...]]) -> bool:
    added = [*choice, *(part for names in choice.values() for part in names)]
    return sum(counts.get(part, 0) for part in added) == counts["total_tokens"]


def _subsets(names: list[str]) -> Iterable[tuple[str, ...]]:
    for chosen in product((False, True), repeat=len(names)):
        yield tuple(name for name, is_in in zip(names, chosen, strict=True) if is_in)


def status_source(path: str, values: Sequence[Any]) -> Source | None:
    """The source of a status: codes, or words that mean success or failure; None if they are
    others."""
    texts = set(map(as_text, values))
    if all((n := number(text)) is not None and 100 <= n < 600 for text in texts):
        return {"path": path}
    if "error" in last_keys(path) or "error" in words(path):
        codes = {"0": 200} if "0" in texts else {}
        return {"path": path, "values": {**codes, "*": 500}, "default": 200}
    if len(texts) > 12 or not {text.lower() for text in texts} <= _SUCCESSES | FAILURES:
        return None
    return {
        "path": path,
        "values": {text: 200 if text.lower() in _SUCCESSES else 500 for text in sorted(texts)},
    }


def tier_source(path: str, values: Sequence[Any]) -> Source:
    """The source of a service tier. Vertex AI names it in the type of the traffic."""
    if last_keys(path) != "traffictype":
        return {"path": path}
    tiers = {"FLEX": "flex", "PRIORITY": "priority", "BATCH": "batch"}
    texts = sorted(map(str, set(values)))
    tier = {
        text: next((t for end, t in tiers.items() if text.endswith(end)), None) for text in texts
    }
    return {"path": path, "values": tier}


def provider_of(models: Iterable[Any]) -> str:
    """The provider of models, if their names are those of Bedrock; else the name tells it later."""
    return "aws" if all(_BEDROCK.match(str(model)) for model in models) else "unknown"


def looks_like_models(values: Sequence[Any]) -> bool:
    """Whether nearly all texts are names of models that the catalogue knows."""
    texts = [str(value) for value in values][:100]
    if len(set(texts)) > 50 or any(len(text) > 100 or " " in text for text in texts):
        return False
    known = [text for text in texts if normalise_model("unknown", text).provider != "unknown"]
    return len(known) > 0.8 * len(texts)


def empty_texts(values: Iterable[Any]) -> dict[str, None]:
    """The texts among numbers that mean "no value"."""
    texts = {str(value) for value in values if number(value) is None}
    return {text: None for text in sorted(texts) if text.lower() in _NO_VALUE}
