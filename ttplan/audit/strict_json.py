"""Strict JSON: no key twice, no number in a second spelling, so all readers understand the same."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from ttplan.audit.canonical import canonical_json, with_legacy_exponents
from ttplan.model.errors import CanonicalError, InputError


def parse_json(data: bytes) -> Any:
    """Parse a JSON text. White space, the order of keys and the escapes in texts are free.

    Raises InputError, which does not name the source, for anything that two readers could
    understand differently.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_refuse_constant,
        )
        canonical_json(value)
    except UnicodeDecodeError:
        raise InputError("not UTF-8; expected JSON") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"not JSON at character {error.pos + 1} ({error.msg}); is the file cut off or damaged? "
            "Export it again"
        ) from None
    except RecursionError:
        raise InputError("nests too deep; expected at most 120 levels") from None
    except (ValueError, CanonicalError) as error:
        raise InputError(str(error)) from None
    return value


def parse_json_file(data: bytes, name: str, what: str, limit: int) -> Any:
    """Parse a file of at most `limit` bytes as `parse_json` does. InputError contains `name`."""
    if len(data) > limit:
        raise InputError(f"{name} has more than {limit:,} bytes; expected {what}")
    try:
        return parse_json(data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} appears twice in one object; expected it once")
    return fields


def _integer(text: str) -> int:
    if len(text) > 20 or str(int(text)) != text:
        raise ValueError(f"the number {text[:40]} is not in canonical form, or exceeds 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    canonical = orjson.dumps(value)
    if text.encode() not in (canonical, with_legacy_exponents(canonical)):
        raise ValueError(
            f"the number {text[:40]} is not in canonical form; expected {canonical.decode()}"
        )
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON; expected a finite number")
