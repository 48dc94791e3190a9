"""Paths to a value in a logged row: `metadata.usage.prompt_tokens`, `choices[0].text`, `"a name.with dots".x`."""

from __future__ import annotations

import re
from functools import cache

from ttplan.model.errors import InputError

Step = str | int
Path = tuple[Step, ...]
"""Keys and indexes, from the row down. The first is a column where the file has columns."""

_STEP = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)+)"|\[(?P<index>\d{1,9})\]|(?P<key>[^."\[\]]+)')
EVERY = "[*]"
"""At the end of a key in a path to rows: each element of the array there is a row."""


@cache
def parse_path(text: str) -> Path:
    """The steps of a path. InputError where it is none."""
    steps: list[Step] = []
    at = 0
    while at < len(text) or not steps:
        if steps and text[at] == ".":
            at += 1
        elif steps and text[at] != "[":
            raise _wrong(text)
        found = _STEP.match(text, at)
        if (
            found is None
            or (not steps and found["index"])
            or (found["index"] and text[at - 1] == ".")
        ):
            raise _wrong(text)
        if found["index"]:
            steps.append(int(found["index"]))
        else:
            steps.append(found["key"] or re.sub(r"\\(.)", r"\1", found["quoted"]))
        at = found.end()
    return tuple(steps)


def pointer(path: Path) -> str:
    """A path inside a JSON document as a JSON pointer (RFC 6901), which can spell every key."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def rows_path(text: str) -> str:
    """A path to rows, such as `data[*]` or `groups[*].spans[*]`, as DuckDB's JSON path. InputError where it is none."""
    parts = [parse_path(part) for part in text.removesuffix(EVERY).split(f"{EVERY}.")]
    keys = [[str(step) for step in part] for part in parts]
    if not text.endswith(EVERY) or any(set(key) & set('"\\*') for part in keys for key in part):
        raise InputError(
            f"{text!r} is no path to rows; expected keys, the last ending in {EVERY}, such as data{EVERY}"
        )
    return "$" + "".join("".join(f'."{key}"' for key in part) + EVERY for part in keys)


def _wrong(text: str) -> InputError:
    return InputError(
        f"{text!r} is no path to a value; expected keys with dots between, such as metadata.usage.tokens or choices[0].text, "
        'and quotes around a key that has a dot in it, such as "a.b".c'
    )
