"""A harmless cause of a hash mismatch: an exporter that wrote a float one unit off."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from ttplan.audit.canonical import with_legacy_exponents
from ttplan.audit.entries import entry_hash
from ttplan.model.audit import StoredEntry

MAX_BYTES = 64 * 2**20
"""The search hashes this many bytes and no more, whatever the payload."""
_STRINGS_OR_FLOATS = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+(?:e[-+]?[0-9]+)?|e[-+]?[0-9]+)', re.DOTALL
)


class LostDigit(NamedTuple):
    """A float of a payload: its place, how it is written, and how it was signed."""

    field: str
    written: str
    signed: str

    def __str__(self) -> str:
        return (
            f"{self.field} is {self.written}, and with {self.signed}, one unit off, it is what was "
            "signed: whatever exported it lost a digit"
        )


def find_lost_digit(record: StoredEntry) -> LostDigit | None:
    """Find the float whose neighbour makes a record's hash right.

    Neighbours are the double before and after it, and its last digit plus or minus one. Returns
    None if there is no such float, or none within `MAX_BYTES`.
    """
    try:
        payload = orjson.loads(record.body)["payload"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    body, bytes_left = record.body, MAX_BYTES
    tokens = (match for match in _STRINGS_OR_FLOATS.finditer(body) if match[0][:1] != b'"')
    # A body is canonical, so its floats appear in the order in which its value is walked.
    for (field, value), token in zip(_floats(payload, "payload"), tokens, strict=False):
        for neighbour in _neighbours(value, token[0]):
            bytes_left -= len(body)
            if bytes_left < 0:
                return None
            if _has_hash(record, body[: token.start()] + neighbour + body[token.end() :]):
                return LostDigit(field, token[0].decode(), neighbour.decode())
    return None


def _floats(value: Any, where: str) -> Iterator[tuple[str, float]]:
    """Yield the floats in a value, in order, each with its place."""
    stack = [(where, value)]
    while stack:
        where, value = stack.pop()
        if isinstance(value, float):
            yield where, value
        elif isinstance(value, dict):
            stack += [(f"{where}.{key}", item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            stack += [(f"{where}[{i}]", item) for i, item in reversed(list(enumerate(value)))]


def _neighbours(value: float, written: bytes) -> list[bytes]:
    """Return the floats next to one, as written: by a unit of the double and of its last digit."""
    decimal = Decimal(written.decode())
    unit = Decimal((0, (1,), int(decimal.as_tuple().exponent)))
    candidates = [
        math.nextafter(value, -math.inf),
        math.nextafter(value, math.inf),
        float(decimal - unit),
        float(decimal + unit),
    ]
    return [
        orjson.dumps(candidate)
        for candidate in dict.fromkeys(candidates)
        if math.isfinite(candidate) and candidate != value
    ]


def _has_hash(record: StoredEntry, body: bytes) -> bool:
    bodies = (body, with_legacy_exponents(body))
    return any(b is not None and entry_hash(record.prev_hash, b) == record.hash for b in bodies)
