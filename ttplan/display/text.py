"""Make text from outside harmless: it is shown on one line and cannot change terminal or page."""

from __future__ import annotations

import html
import textwrap
import unicodedata

WIDTH = 80
_JOINERS = "\u200c\u200d"
"""Zero-width joiners, which words of several scripts and emojis need."""
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_FILLER = "\ue000"
"""Stands for a wide character's second column during wrapping; as input it is escaped."""


def plain(text: str) -> str:
    """`text` on one line: white space becomes single spaces; control characters, invisible ones,
    those that change the writing direction and lone surrogates become escapes such as `\\u202e`."""
    spaced = " ".join(text.split())
    if spaced.isascii() and spaced.isprintable():
        return spaced
    return _without_unsafe(spaced)


def plain_lines(text: str) -> str:
    """`text` with its lines and their spaces; other characters become escapes as in `plain`."""
    return "\n".join(map(_without_unsafe, text.split("\n")))


def escape(text: str) -> str:
    """`plain` text for HTML, with its special characters as entities."""
    return html.escape(plain(text))


def columns(text: str) -> int:
    """How many terminal columns a text takes: two for a wide character, none for a combining
    mark."""
    return sum(map(_columns, text))


def cut(text: str, width: int) -> str:
    """`plain` text, cut to that many columns, with an ellipsis if something was cut off."""
    line = plain(text)
    if columns(line) <= width:
        return line
    used = 0
    for end, char in enumerate(line):
        used += _columns(char)
        if used > width - 1:
            return line[:end] + "…"
    return line


def wrap(
    text: str, width: int = WIDTH, *, initial_indent: str = "", subsequent_indent: str = ""
) -> list[str]:
    """`plain` text in lines of at most `width` columns; text without spaces is broken too."""
    # A wide character is wrapped as two characters; the second one is removed afterwards.
    doubled = "".join(char + _FILLER * max(0, _columns(char) - 1) for char in plain(text))
    # One column stays free for a wide character whose two columns were separated.
    free = width - (_FILLER in doubled)
    lines = textwrap.wrap(
        doubled,
        free,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_on_hyphens=False,
    )
    return [line.replace(_FILLER, "") for line in lines]


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in {"Mn", "Me"} or char in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _without_unsafe(text: str) -> str:
    return "".join(_escaped(char) if is_unsafe(char) else char for char in text)


def is_unsafe(char: str) -> bool:
    """Whether a character is invisible, or could change a terminal."""
    return unicodedata.category(char) in _INVISIBLE and char not in _JOINERS


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
