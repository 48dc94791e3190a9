"""Text from outside, made harmless for a line of text or a page: what it holds is shown, and does nothing."""

from __future__ import annotations

import html
import textwrap
import unicodedata

WIDTH = 80
_JOINERS = "\u200c\u200d"
"""Within words of several scripts, and within emojis."""
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_REST = "\ue000"
"""Stands for a wide character's second column while lines are made; as a character of its own it is escaped."""


def plain(text: str) -> str:
    """`text` in one line: white space as single spaces; control characters, unseen ones and those that turn the direction of
    writing as escapes, such as `\\u202e`. Half of a surrogate pair, which no encoding can write, too."""
    spaced = " ".join(text.split())
    if spaced.isascii() and spaced.isprintable():
        return spaced
    return "".join(
        _escaped(char) if unicodedata.category(char) in _UNSEEN and char not in _JOINERS else char
        for char in spaced
    )


def escape(text: str) -> str:
    """`plain`, with what HTML reads as its own written so that it does not."""
    return html.escape(plain(text))


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for a mark on the one before."""
    return sum(map(_columns, text))


def cut(text: str, width: int) -> str:
    """`plain`, cut to that many columns, with an ellipsis where something was cut off."""
    line = plain(text)
    if columns(line) <= width:
        return line
    kept = 0
    for end, char in enumerate(line):
        kept += _columns(char)
        if kept > width - 1:
            return line[:end] + "…"
    return line


def left(text: str, width: int) -> str:
    """`cut`, and filled up with spaces."""
    line = cut(text, width)
    return line + " " * (width - columns(line))


def wrap(
    text: str, width: int = WIDTH, *, initial_indent: str = "", subsequent_indent: str = ""
) -> list[str]:
    """`plain`, in lines of at most `width` columns, the first and the others indented; what has no spaces is broken, too."""
    # A wide character is wrapped as two, of which the second is taken away again.
    doubled = "".join(char + _REST * max(0, _columns(char) - 1) for char in plain(text))
    # One column is kept free for a wide character whose two were parted.
    free = width - (_REST in doubled)
    lines = textwrap.wrap(
        doubled, free, initial_indent=initial_indent, subsequent_indent=subsequent_indent
    )
    return [line.replace(_REST, "") for line in lines]


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in {"Mn", "Me"} or char in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
