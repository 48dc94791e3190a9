"""The bytes that are hashed: canonical JSON, and what a payload may contain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from math import isfinite
from typing import Any

import orjson

from ttplan.model.errors import CanonicalError

MAX_NESTING = 120
"""How deep a payload may nest when it is written; other readers stop at 127."""
MONEY_LIMIT = Decimal(10) ** 9
"""Money in a payload stays below this: every reader's float parser then returns its 6 decimals."""
_ROUNDS_TO_LIMIT = MONEY_LIMIT - Decimal("0.0000005")
_PARSER_LIMIT = 250
_STRINGS_OR_EXPONENTS = re.compile(rb'"(?:[^"\\]|\\.)*"|e\+', re.DOTALL)


def canonical_json(value: Any) -> bytes:
    """Write `value` as `serde_json` does with sorted keys: no white space, UTF-8, shortest floats.

    Raises CanonicalError, naming the place, for NaN and infinities, integers beyond 64 bits, lone
    surrogates, keys that are not text, nesting beyond 250 and anything that is not JSON.
    """
    if not _is_plain(value, _PARSER_LIMIT, nul=True):
        _check(value, "value", _PARSER_LIMIT, nul=True)
    return _dumps(value)


def check_payload(payload: Mapping[str, Any]) -> None:
    """Refuse a payload that some reader of the chain would not read back exactly.

    Raises CanonicalError for what `canonical_json` refuses, for nesting beyond 120 and for a NUL
    character.
    """
    if not _is_plain(payload, MAX_NESTING, nul=False):
        _check(payload, "payload", MAX_NESTING, nul=False)
    _dumps(payload)


def payload_money(amount: Decimal) -> float:
    """Return USD for a payload: rounded half to even to 6 decimals, never `-0.0`.

    Raises CanonicalError if the amount is not finite, or 10^9 or above when rounded.
    """
    if not amount.is_finite() or amount.copy_abs() >= _ROUNDS_TO_LIMIT:
        raise CanonicalError(
            f"{amount} USD does not fit a payload; expected less than {MONEY_LIMIT:,}"
        )
    return float(amount.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)) or 0.0


def with_legacy_exponents(body: bytes) -> bytes | None:
    """Write positive exponents as `serde_json` did until the end of 2025: `1e16` for `1e+16`.

    Returns None if there are none.
    """
    legacy = _STRINGS_OR_EXPONENTS.sub(lambda m: b"e" if m[0] == b"e+" else m[0], body)
    return None if legacy == body else legacy


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise CanonicalError(f"the value cannot be written as JSON: {error}") from None


def _is_plain(value: Any, levels: int, *, nul: bool) -> bool:
    """Whether a value is certainly valid: a fast check that does not track where it is."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii()) and (nul or "\0" not in value)
    if kind is float:
        return isfinite(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    if kind is dict or kind is list:
        for item in value.values() if kind is dict else value:
            if levels == 0 or not _is_plain(item, levels - 1, nul=nul):
                return False
        return kind is list or all(map(_is_plain_key, value))
    return value is None or kind is bool


def _is_plain_key(key: Any) -> bool:
    return type(key) is str and key.isascii() and "\0" not in key


def _check(value: Any, where: str, levels: int, *, nul: bool) -> None:
    """Check a value in full, and name the place of what is wrong."""
    if levels < 0:
        limit = _PARSER_LIMIT if nul else MAX_NESTING
        raise CanonicalError(f"{where[:80]}… nests too deep; expected at most {limit} levels")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if not nul and "\0" in value:
            raise CanonicalError(f"{where} contains a NUL character; expected text without it")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CanonicalError(
                f"{where} contains a lone surrogate; expected text that UTF-8 can encode"
            ) from None
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise CanonicalError(f"{where} is {value}; expected an integer of 64 bits")
    elif isinstance(value, float):
        if not isfinite(value):
            raise CanonicalError(f"{where} is {value}; expected a finite number, as JSON requires")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise CanonicalError(f"{where} has the key {key!r}; expected text")
            _check(key, f"a key of {where}", levels, nul=nul)
            _check(item, f"{where}.{key}", levels - 1, nul=nul)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", levels - 1, nul=nul)
    else:
        raise CanonicalError(f"{where} is a {type(value).__name__}; expected a JSON value")
