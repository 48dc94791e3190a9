"""Why a hash may not fit although nobody meant harm: an exporter that wrote a float one unit off the one that was signed."""

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

MOST_BYTES = 64 * 2**20
"""So many bytes are hashed in the search, and no more, whatever the payload."""
_TEXTS_OR_FLOATS = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+(?:e[-+]?[0-9]+)?|e[-+]?[0-9]+)', re.DOTALL
)


class LostDigit(NamedTuple):
    """A float of a payload: where it stands, as it is written, and as it was signed."""

    field: str
    found: str
    signed: str

    def __str__(self) -> str:
        return (
            f"{self.field} is {self.found}, and with {self.signed}, one unit off, it is what was signed: "
            "whatever exported it lost a digit"
        )


def find_lost_digit(record: StoredEntry) -> LostDigit | None:
    """The one float whose neighbour makes a record's hash right: the double before or after it, or its last digit one more or
    less. None where no single one does, or none among as many as are tried."""
    try:
        payload = orjson.loads(record.body)["payload"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    body, left = record.body, MOST_BYTES
    tokens = (match for match in _TEXTS_OR_FLOATS.finditer(body) if match[0][:1] != b'"')
    # A body is canonical, so its floats stand in it in the order in which they are met in its value.
    for (field, value), token in zip(_floats(payload, "payload"), tokens, strict=False):
        for near in _neighbours(value, token[0]):
            left -= len(body)
            if left < 0:
                return None
            if _hashes_to(record, body[: token.start()] + near + body[token.end() :]):
                return LostDigit(field, token[0].decode(), near.decode())
    return None


def _floats(value: Any, where: str) -> Iterator[tuple[str, float]]:
    """The floats in a value, in order, each with where it stands."""
    waiting = [(where, value)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, float):
            yield where, value
        elif isinstance(value, dict):
            waiting += [(f"{where}.{key}", item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [
                (f"{where}[{index}]", item) for index, item in reversed(list(enumerate(value)))
            ]


def _neighbours(value: float, written: bytes) -> list[bytes]:
    """The floats beside one, as they are written: by a unit of the double, and by one of its last digit."""
    spelled = Decimal(written.decode())
    unit = Decimal((0, (1,), int(spelled.as_tuple().exponent)))
    near = [
        math.nextafter(value, -math.inf),
        math.nextafter(value, math.inf),
        float(spelled - unit),
        float(spelled + unit),
    ]
    return [orjson.dumps(one) for one in dict.fromkeys(near) if math.isfinite(one) and one != value]


def _hashes_to(record: StoredEntry, body: bytes) -> bool:
    older = with_legacy_exponents(body)
    return any(
        entry_hash(record.prev_hash, one) == record.hash for one in (body, older) if one is not None
    )
