"""Reads the counts of usage objects, in any of the known spellings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ttplan.model.request import MAX_TOKENS
from ttplan.prices.usage.spellings import COUNTS, Meaning, meaning_of, plain

Document = Mapping[str, Any] | str | None
"""A usage object, or its JSON text."""
_MAX_DEPTH = 8
_MAX_KEYS = 10_000
"""Keys of one object whose meaning is kept; usage objects have a few dozen."""


class UsageCounts:
    """The counts and texts of a request's usage objects.

    `beside` and `inside` have the counts with a value in a spelling of that kind; `is_sum` says
    that a key is one of senders whose input contains all parts. `invalid` is the first key whose
    value is not a count.
    """

    __slots__ = ("beside", "counts", "inside", "invalid", "is_sum", "texts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.beside: set[str] = set()
        self.inside: set[str] = set()
        self.is_sum = False
        self.invalid: str | None = None

    @property
    def written(self) -> int | None:
        """All cache writes: the sum that is stated, or that of its parts if these are more."""
        counts = self.counts
        if not counts.keys() & {"write", "write_5m", "write_1h"}:
            return None
        parts = counts.get("write_5m", 0) + counts.get("write_1h", 0)
        return max(counts.get("write", 0), parts)

    @property
    def input_beside(self) -> bool:
        """Whether cached and written tokens are beside the input, by their spellings."""
        if self.is_sum or "cached" in self.inside or "write" in self.inside:
            return False
        return "cached" in self.beside or "write" in self.beside

    @property
    def output_beside(self) -> bool:
        """Whether reasoning is beside the output, by its spellings."""
        return "reasoning" in self.beside and "reasoning" not in self.inside


class _Keys(dict[str, "Meaning | None"]):
    """What the keys of the object at a path mean, found out once per key."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.inner: dict[str, _Keys] = {}

    def __missing__(self, key: str) -> Meaning | None:
        value = meaning_of(f"{self.path}{key}")
        if len(self) < _MAX_KEYS:
            self[key] = value
        return value

    def at(self, key: str) -> _Keys:
        """The keys of the object under a key."""
        keys = self.inner.get(key)
        if keys is None:
            keys = _Keys(f"{self.path}{key}.")
            if len(self.inner) < _MAX_KEYS:
                self.inner[key] = keys
        return keys


_TOP = _Keys("")


def parse_usage(*documents: Document) -> UsageCounts:
    """The counts of usage objects that describe the same request. What is not known is ignored.

    Examples
    --------
    >>> from ttplan.prices.usage.parse import parse_usage
    >>> usage = parse_usage('{"usage": {"inputTokens": 3, "cacheReadInputTokens": 7917}}')
    >>> usage.counts, usage.input_beside
    ({'input': 3, 'cached': 7917}, True)
    """
    usage = UsageCounts()
    for document in documents:
        content = _loads(document) if isinstance(document, str) else document
        if isinstance(content, str):  # JSON that was written as a text
            content = _loads(content)
        if isinstance(content, dict):
            _read(content, _TOP, usage, 0)
    return usage


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _read(content: dict[str, Any], keys: _Keys, usage: UsageCounts, depth: int) -> None:
    for key, value in content.items():
        if value is None:
            continue
        kind = type(value)
        if kind is int:
            meaning = keys[key]
            if meaning is not None:
                _add(meaning, key, value, usage)
            continue
        if kind is str and value[:1] in ("{", "["):
            value = _loads(value)
            kind = type(value)
        if kind is list:
            value, kind = _by_kind(value), dict
        if kind is dict:
            if depth < _MAX_DEPTH:
                _read(value, keys.at(key), usage, depth + 1)
        elif kind is not bool and (meaning := keys[key]) is not None:
            if meaning.name in COUNTS:
                _add(meaning, key, value if value == "" else _whole(value), usage)
            elif kind is str and value:
                usage.texts.setdefault(meaning.name, value)


def _by_kind(items: list[Any]) -> dict[str, Any]:
    """A list of counts by modality (Google) or by time to live (Bedrock), as an object."""
    named: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, dict):
            continue
        kind = item.get("modality") or item.get("ttl")
        counts = [v for k, v in item.items() if plain(k) in ("tokencount", "inputtokens", "tokens")]
        if isinstance(kind, str) and counts and (count := _whole(counts[0])) is not None:
            named[kind.lower()] = named.get(kind.lower(), 0) + count
    return named


def _add(meaning: Meaning, key: str, count: int | str | None, usage: UsageCounts) -> None:
    if count == "":
        return
    if type(count) is not int or not 0 <= count < MAX_TOKENS:
        usage.invalid = usage.invalid or key
        return
    name, beside, is_sum = meaning
    if is_sum:
        usage.is_sum = True
    if count > usage.counts.get(name, -1):
        usage.counts[name] = count
    if count and name in _SIDED:
        (usage.beside if beside else usage.inside).add(name)


_SIDED = frozenset(("cached", "write", "reasoning"))


def _whole(value: Any) -> int | None:
    """A whole number that is a text or a float; None if it is none."""
    try:
        number = float(value)
        return int(number) if number == int(number) else None
    except (TypeError, ValueError, OverflowError):
        return None
