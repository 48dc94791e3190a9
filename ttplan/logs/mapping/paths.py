"""Paths to a value in a logged row: `usage.prompt_tokens`, `choices[0].text`, `"a.b".x`."""

from __future__ import annotations

import re
from functools import cache

from ttplan.model.errors import InputError

Step = str | int
Path = tuple[Step, ...]
"""Keys and indexes, starting at the row. The first is a column if the file has columns."""

_STEP = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)+)"|\[(?P<index>\d{1,9})\]|(?P<key>[^."\[\]]+)')
EVERY = "[*]"
"""At the end of a key in a path to rows: each element of that array is a row."""


@cache
def parse_path(text: str) -> Path:
    """The steps of a path. Raises InputError if it is not a path."""
    steps: list[Step] = []
    at = 0
    while at < len(text) or not steps:
        if steps and text[at] == ".":
            at += 1
        elif steps and text[at] != "[":
            raise _not_a_path(text)
        match = _STEP.match(text, at)
        if match is None or (match["index"] and (not steps or text[at - 1] == ".")):
            raise _not_a_path(text)
        if match["index"]:
            steps.append(int(match["index"]))
        else:
            steps.append(match["key"] or re.sub(r"\\(.)", r"\1", match["quoted"]))
        at = match.end()
    return tuple(steps)


def pointer(path: Path) -> str:
    """A path inside a document as a JSON pointer (RFC 6901), which can express every key."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def rows_path(text: str) -> str:
    """A path to rows, such as `data[*]` or `groups[*].spans[*]`, as a JSON path of DuckDB."""
    parts = [parse_path(part) for part in text.removesuffix(EVERY).split(f"{EVERY}.")]
    keys = [[str(step) for step in part] for part in parts]
    if not text.endswith(EVERY) or any(set(key) & set('"\\*') for part in keys for key in part):
        raise InputError(
            f"{text!r} is not a path to rows; expected keys, the last ending in {EVERY},"
            f" such as data{EVERY}"
        )
    return "$" + "".join("".join(f'."{key}"' for key in part) + EVERY for part in keys)


def _not_a_path(text: str) -> InputError:
    return InputError(
        f"{text!r} is not a path to a value; expected keys separated by dots, such as"
        " metadata.usage.tokens or choices[0].text, and quotes around a key that contains a dot,"
        ' such as "a.b".c'
    )
