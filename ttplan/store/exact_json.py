"""JSON in which money keeps every digit: a store gives back the very amounts that it was given.

The JSON that models write for the outside shows money as the nearest double, which past some 15 digits is another amount.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
from pydantic import BaseModel


def write_exact(value: BaseModel | dict[str, Any] | list[Any] | tuple[Any, ...]) -> str:
    """A model, or what `model_dump` gave, as JSON text, its decimals as numbers with all their digits."""
    plain = value.model_dump() if isinstance(value, BaseModel) else value
    return orjson.dumps(plain, default=_decimal).decode()


def read_exact(text: str) -> Any:
    """What `write_exact` wrote, ready to be validated: numbers with a fraction or an exponent as decimals."""
    return json.loads(text, parse_float=Decimal)


def _decimal(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError(f"{value!r} cannot be stored as JSON")
    return orjson.Fragment(str(value))
