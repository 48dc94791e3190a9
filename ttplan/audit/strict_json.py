"""JSON from outside, read so that what is understood is what was written: no key twice, no number in a second spelling."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from ttplan.audit.canonical import canonical_json, with_legacy_exponents
from ttplan.model.errors import CanonicalError, InputError


def parse_json(data: bytes) -> Any:
    """The value of a JSON text. White space, the order of keys and the spelling of text are free.

    Raises InputError, without saying where the text is from, for anything that two readers could understand differently.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_no_constant,
        )
        canonical_json(value)
    except UnicodeDecodeError:
        raise InputError("not UTF-8; expected JSON") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"not JSON at character {error.pos + 1} ({error.msg}); is the file cut off or damaged? Export it again"
        ) from None
    except RecursionError:
        raise InputError("nests too deep; expected at most 120 levels") from None
    except (ValueError, CanonicalError) as error:
        raise InputError(str(error)) from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(
            f"the key {twice[:60]!r} stands twice in one object; expected every key once"
        )
    return found


def _whole(text: str) -> int:
    if len(text) > 20 or str(int(text)) != text:
        raise ValueError(f"the number {text[:40]} is not in its one spelling, or past 64 bits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    spelled = orjson.dumps(value)
    if text.encode() not in (spelled, with_legacy_exponents(spelled)):
        raise ValueError(
            f"the number {text[:40]} is not in its one spelling; expected {spelled.decode()}"
        )
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON; expected a finite number")
