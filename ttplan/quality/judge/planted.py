"""Answers made bad on purpose, to see whether the judge finds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from blake3 import blake3

from ttplan.model.results.verdicts import ControlKind

MIN_CUT = 80
"""A shorter answer may be complete even if it is cut."""
REFUSAL = "I'm sorry, but I can't help with that request."
WRONG_LANGUAGE = (
    "Valitettavasti tähän ei voi vastata suoraan, sillä vastaus riippuu useista seikoista, joita "
    "tässä ei ole kerrottu."
)
"""A reply in Finnish that answers nothing, so it is bad in any language."""
_NUMBER = re.compile(r"\d{2,}")  # a single digit may only count the items of a list
_DRAWS = 8
"""How many other answers are tried."""


class PlantedAnswer(NamedTuple):
    """A bad answer, and how it was made."""

    kind: ControlKind
    text: str


class _Source(NamedTuple):
    """The recorded answer, the recorded answers to other prompts, and a source of choices."""

    answer: str
    others: Sequence[str]
    draw: Callable[[str, int], int]
    """A number below the second argument; the first names the choice."""


def plant(answer: str, others: Sequence[str], *, seed: int, request_id: UUID) -> PlantedAnswer:
    """Return a bad answer in place of the recorded `answer`.

    Seed and id choose among the ways that are possible for this answer. `others` are recorded
    answers to other prompts.
    """

    def draw(choice: str, below: int) -> int:
        digest = blake3(f"ttplan planted {seed} {request_id} {choice}".encode()).digest(length=8)
        return int.from_bytes(digest, "big") % below

    source = _Source(answer, others, draw)
    planted = [
        PlantedAnswer(kind, text)
        for kind, make in _WAYS.items()
        if (text := make(source)) is not None and _plain(text) != _plain(answer)
    ]
    return planted[draw("kind", len(planted))]


def _truncated(source: _Source) -> str | None:
    """The first 10 to 39 percent of a long answer."""
    length = len(source.answer.strip())
    if length < MIN_CUT:
        return None
    return source.answer.strip()[: length * (10 + source.draw("cut", 30)) // 100]


def _other_answer(source: _Source) -> str | None:
    """The answer to another prompt."""
    for attempt in range(_DRAWS if source.others else 0):
        other = source.others[source.draw(f"other {attempt}", len(source.others))]
        if _plain(other) and _plain(other) != _plain(source.answer):
            return other
    return None


def _altered_numbers(source: _Source) -> str | None:
    """The answer with other numbers, of as many digits."""
    if not _NUMBER.search(source.answer):
        return None

    def alter(match: re.Match[str]) -> str:
        digits = match[0]
        first = (int(digits[0]) + source.draw(f"digit {match.start()}", 8)) % 9 + 1
        return f"{first}{digits[1:]}"

    return _NUMBER.sub(alter, source.answer)


_WAYS: dict[ControlKind, Callable[[_Source], str | None]] = {
    "truncated": _truncated,
    "other_answer": _other_answer,
    "altered_numbers": _altered_numbers,
    "refusal": lambda source: REFUSAL,
    "wrong_language": lambda source: WRONG_LANGUAGE,
}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
