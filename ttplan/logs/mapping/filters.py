"""Which rows of a log are not requests: rules for a mapping, drafted from a sample."""

from __future__ import annotations

import re
from typing import Any

from ttplan.logs.fields import OTHER_UNITS
from ttplan.logs.mapping.decide import FAILURES, Paths
from ttplan.logs.mapping.names import last_keys, last_name
from ttplan.logs.mapping.sample import Row, SampledRows, as_text, number

_COUNTS = ("input_tokens", "output_tokens", "total_tokens")
_TYPES = [
    "type",
    "runtype",
    "spankind",
    "kind",
    "spantype",
    "observationtype",
    "eventname",
    "event",
    "category",
    "operationname",
    "operation",
    "calltype",
    "requesttype",
    "object",
    "role",
]
"""Keys that say what a row is, the likeliest first."""
_CALLS = frozenset(
    [
        "llm",
        "chatmodel",
        "chat",
        "generation",
        "completion",
        "textcompletion",
        "chatcompletion",
        "message",
        "apirequest",
        "embedding",
        "embeddings",
        "responses",
    ]
)
_AROUND_CALLS = frozenset(
    [
        "chain",
        "agent",
        "tool",
        "retriever",
        "span",
        "workflow",
        "parser",
        "prompt",
        "task",
        "trace",
        "root",
        "session",
        "guardrail",
        "evaluator",
        "reranker",
    ]
)
"""Rows that may repeat the usage of the calls under them."""
_TYPE_TEXT = re.compile(r"[\w.:/, -]{1,40}")
_MOST_TYPES = 12
Rule = dict[str, Any]


def is_complete(row: Row, paths: Paths) -> bool:
    """Whether a row has what a request needs, as far as its names are known."""
    needed = [paths[name] for name in ("ts", "model") if name in paths]
    has_cost = "cost_usd" not in paths or number(row.get(paths["cost_usd"], 0)) is not None
    has_needed = needed != [] and all(path in row for path in needed)
    return has_cost and has_needed and _has_counts(row, paths)


def _has_counts(row: Row, paths: Paths) -> bool:
    counted = [paths[name] for name in _COUNTS if name in paths][:2]
    return all(number(row.get(path)) is not None for path in counted)


def skip_rules(sample: SampledRows, paths: Paths) -> tuple[list[Rule], list[Row]]:
    """Rules for rows that are not requests, and the rows that they leave."""
    rules: list[Rule] = []
    rows = sample.rows
    for draft in (_other_units, _by_type, _without_model, _without_counts):
        rule = draft(sample._replace(rows=rows), paths)
        if rule is not None and (left := [row for row in rows if not _skips(rule, row)]):
            rules.append(rule)
            rows = left
    return rules, rows


def _skips(rule: Rule, row: Row) -> bool:
    text = as_text(row[rule["path"]]) if rule["path"] in row else None
    return text in rule["is"] if "is" in rule else text not in rule["is_not"]


def _other_units(sample: SampledRows, paths: Paths) -> Rule | None:
    """Rows whose usage is not counted in tokens."""
    for path in sample.keys:
        if last_keys(path) == "unit" and set(map(str, sample.values(path))) & set(OTHER_UNITS):
            return {"path": path, "is": [*OTHER_UNITS], "reason": "it does not count tokens"}
    return None


def _by_type(sample: SampledRows, paths: Paths) -> Rule | None:
    """Rows of a type that no request has, or that repeats the usage of requests."""
    complete = [row for row in sample.rows if is_complete(row, paths)]
    others = [row for row in sample.rows if not is_complete(row, paths)]
    for path in (p for word in _TYPES for p in sample.keys if _is_named(p, word)):
        texts = {as_text(row[path]) for row in sample.rows if path in row}
        is_type = 1 < len(texts) <= _MOST_TYPES and all(map(_TYPE_TEXT.fullmatch, texts))
        if not complete or not is_type or any(path not in row for row in complete):
            continue
        wanted = {as_text(row[path]) for row in complete}
        calls = {text for text in texts if _plain(text) in _CALLS}
        around = {text for text in texts if _plain(text) in _AROUND_CALLS}
        if calls and around:
            wanted -= around
        if not wanted or not texts - wanted:
            continue
        if not calls and any(as_text(row.get(path)) in wanted for row in others):
            continue
        cost = paths.get("cost_usd", "")
        costs = [row[cost] for row in others if cost in row]
        is_free = len(costs) == len(others) > 0 and all(number(value) is None for value in costs)
        what = "one without an amount" if is_free else "that of no request"
        reason = f"its {last_name(path)} is {what}"
        if len(wanted) == 1 or calls:
            return {"path": path, "is_not": sorted(wanted), "reason": reason}
        return {"path": path, "is": sorted(texts - wanted), "reason": reason}
    return None


def _is_named(path: str, word: str) -> bool:
    return word in (last_keys(path), last_keys(path, 2))


def _without_model(sample: SampledRows, paths: Paths) -> Rule | None:
    """Rows that name no model."""
    path = paths.get("model", "")
    if not any(path in row for row in sample.rows) or all(path in row for row in sample.rows):
        return None
    return {"path": path, "is": [None], "reason": "it names no model"}


def _without_counts(sample: SampledRows, paths: Paths) -> Rule | None:
    """Rows that count no tokens and did not fail."""
    path = next((paths[name] for name in _COUNTS if name in paths), "")
    lacking = [row for row in sample.rows if path not in row]
    if len(lacking) == len(sample.rows) or all(_failed(row, paths) for row in lacking):
        return None
    return {"path": path, "is": [None], "reason": "it counts no tokens"}


def _failed(row: Row, paths: Paths) -> bool:
    """Whether a row has an error, or a status that means failure."""
    path = paths.get("status", "")
    if path not in row:
        return False
    status = number(row[path])
    if status is not None:
        return status >= 400
    return "error" in last_keys(path) or as_text(row[path]).lower() in FAILURES


def _plain(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
