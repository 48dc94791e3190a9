"""Paths to a value in a logged row: `usage.prompt_tokens`, `choices[0].text`, `"a.b".x`,
`attributes[key=model].value.*`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ttplan.model.errors import InputError


class Entry(NamedTuple):
    """The first element of a list of objects in which a field has a text: `[key=model]`."""

    field: str
    text: str


class Only(NamedTuple):
    """The first value of an object, whatever its key: `*`."""


Step = str | int | Entry | Only
Path = tuple[Step, ...]
"""Keys and indexes, starting at the row. The first is a column if the file has columns."""

_QUOTED = r'"(?:[^"\\]|\\.)+"'
_STEP = re.compile(
    rf"(?P<quoted>{_QUOTED})|\[(?P<index>\d{{1,9}})\]"
    rf"|\[(?P<field>[^=\[\]\"]+)=(?P<text>{_QUOTED}|[^\"\]]+)\]"
    r"|(?P<only>\*(?=[.\[]|$))|(?P<key>[^.\"\[\]]+)"
)
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
        in_brackets = match is not None and match[0][0] == "["
        if match is None or (in_brackets and (not steps or text[at - 1] == ".")):
            raise _not_a_path(text)
        if match["index"]:
            steps.append(int(match["index"]))
        elif match["field"]:
            steps.append(Entry(match["field"], _unquoted(match["text"])))
        elif match["only"] and steps:
            steps.append(Only())
        else:
            steps.append(_unquoted(match[0]))
        at = match.end()
    return tuple(steps)


def path_step(key: str) -> str:
    """A key as a step of a path."""
    return key if re.fullmatch(r"[^.\"\[\]*]+", key) else _in_quotes(key)


def entry_step(field: str, text: str) -> str:
    """`[field=text]`, for a field that needs no quotes."""
    is_plain = re.fullmatch(r"[^\"\]]+", text)
    return f"[{field}={text if is_plain else _in_quotes(text)}]"


def pointer(path: Sequence[Step]) -> str:
    """A path inside a document as a JSON pointer (RFC 6901), which can express every key."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def rows_path(text: str) -> str:
    """A path to rows, such as `data[*]` or `groups[*].spans[*]`, as a JSON path of DuckDB."""
    parts = [parse_path(part) for part in text.removesuffix(EVERY).split(f"{EVERY}.")]
    keys = [[str(step) for step in part] for part in parts]
    named = all(isinstance(step, str | int) for part in parts for step in part)
    special = any(set(key) & set('"\\*') for part in keys for key in part)
    if not text.endswith(EVERY) or not named or special:
        raise InputError(
            f"{text!r} is not a path to rows; expected keys, the last ending in {EVERY},"
            f" such as data{EVERY}"
        )
    return "$" + "".join("".join(f'."{key}"' for key in part) + EVERY for part in keys)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text[0] == '"' else text


def _in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _not_a_path(text: str) -> InputError:
    return InputError(
        f"{text!r} is not a path to a value; expected keys separated by dots, such as"
        " metadata.usage.tokens, choices[0].text or attributes[key=model].value, and quotes around"
        ' a key that contains a dot, such as "a.b".c'
    )
