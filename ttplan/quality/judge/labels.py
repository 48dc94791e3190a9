"""Pairs of answers for people to compare, and the labels that they give."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, cast, get_args
from uuid import UUID

from blake3 import blake3

from ttplan.model.errors import InputError
from ttplan.model.results.quality import QualityResult
from ttplan.model.results.verdicts import AnswerPair, Label, Verdict, Worse, verdict_of
from ttplan.quality.chat_format import prompt_text
from ttplan.quality.runner import JudgeCase
from ttplan.util.files import atomic_write, read_small_file
from ttplan.util.paths import PathLike

Labels = PathLike | Mapping[Any, str] | Iterable[Label] | Any
"""Where labels come from: a CSV file, a DataFrame, a mapping of ids, or labels."""
ID, LABEL = "request_id", "label"
COLUMNS = (ID, "prompt", "answer_a", "answer_b", LABEL)
_WORDS = (*get_args(Worse), "acceptable", "degraded")
_MOST_TEXT = 20_000
"""Longer prompts and answers are cut for people, to this many characters."""
_MOST_BYTES = 100_000_000


class AnswerPairs:
    """The first pairs of a quality check, for people to label. They stay in memory.

    Give one to `Workspace.check_quality`, then label the pairs with `Workspace.label`, or write
    them to a CSV file, fill its column ``label``, and give that to `Workspace.set_labels`.

    Parameters
    ----------
    size : int, default 30
        How many pairs to keep: those of the first requests of the sample, which is in random order.

    Examples
    --------
    >>> import ttplan
    >>> pairs = ttplan.AnswerPairs(size=30)
    >>> len(pairs)
    0
    """

    def __init__(self, size: int = 30) -> None:
        self.size = size
        self._wanted: tuple[UUID, ...] = ()
        self._seed = 0
        self._pairs: dict[UUID, AnswerPair] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def pairs(self) -> tuple[AnswerPair, ...]:
        """The pairs in the order of the sample."""
        return tuple(self._pairs[key] for key in self._wanted if key in self._pairs)

    def rows(self) -> list[dict[str, str]]:
        """The pairs as rows for a table; `label` is empty, for a, b, same or unclear."""
        return [
            dict(
                zip(
                    COLUMNS,
                    (str(pair.request_id), pair.prompt, pair.answer_a, pair.answer_b, ""),
                    strict=True,
                )
            )
            for pair in self.pairs
        ]

    def to_csv(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write the pairs to a CSV file. It has prompts and answers: keep it where logs are kept.

        Raises InputError if the file exists, unless `overwrite`, or if it cannot be written.
        """
        text = StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(
            {name: _without_formula(cell) for name, cell in row.items()} for row in self.rows()
        )
        with atomic_write(path, overwrite=overwrite, private=True) as file:
            file.write(text.getvalue().encode("utf-8-sig"))

    def begin(self, ids: Iterable[UUID], seed: int) -> None:
        """Forget earlier pairs, and keep those of the first `size` of these requests."""
        self._wanted, self._seed = tuple(ids)[: self.size], seed
        self._pairs = {}

    def add(self, case: JudgeCase, answer: str) -> None:
        """Keep a new answer, if its request is wanted and it is not a control."""
        key = case.request.id
        if case.key != (key, None) or key not in self._wanted:
            return
        is_a = new_is_a(self._seed, key)
        first, second = (answer, case.original) if is_a else (case.original, answer)
        texts = (prompt_text(case.request.body or ""), first, second)
        prompt, answer_a, answer_b = (_shortened(text) for text in texts)
        self._pairs[key] = AnswerPair(key, prompt, answer_a, answer_b, is_a)


def read_labels(labels: Labels, quality: QualityResult) -> tuple[Label, ...]:
    """Read people's labels of the drawn requests of a check, in the order of the requests' ids.

    A label is `a`, `b`, `same` or `unclear` (which answer of the blind pair is clearly worse), or a
    verdict. Rows with an empty label are left out.

    Raises InputError that names the row if something cannot be used.
    """
    source = f"{labels}: " if isinstance(labels, str | os.PathLike) else ""
    drawn = {score.request_id for score in quality.sampled_examples}
    found: dict[UUID, Label] = {}
    for number, (key, word) in enumerate(_rows(labels), 1):
        if _is_empty(word):
            continue
        try:
            label = _label(key, word, quality.seed)
        except ValueError:
            raise InputError(
                f"{source}label {number}: {str(key)!r:.60} and {str(word)!r:.40} cannot be used; "
                f"expected the id of a request and one of {', '.join(_WORDS)}"
            ) from None
        if label.request_id not in drawn:
            raise InputError(
                f"{source}label {number}: request {label.request_id} is not among the "
                f"{len(drawn):,} judged ones of this plan's last quality check"
            )
        if found.setdefault(label.request_id, label) != label:
            raise InputError(
                f"{source}label {number}: request {label.request_id} has two different labels"
            )
    return tuple(found[key] for key in sorted(found))


def new_is_a(seed: int, request_id: UUID) -> bool:
    """Whether the new answer comes first in the blind pair of a request."""
    return blake3(f"ttplan blind pair {seed} {request_id}".encode()).digest()[0] % 2 == 0


def _label(key: object, word: object, seed: int) -> Label:
    request_id, text = UUID(str(key)), str(word).strip().lower()
    if text in get_args(Worse):
        is_a = new_is_a(seed, request_id)
        verdict = verdict_of(cast("Worse", text), new_is_a=is_a)
    else:
        verdict = Verdict(text)
    return Label(request_id=request_id, verdict=verdict)


def _rows(labels: Labels) -> Iterator[tuple[object, object]]:
    """Ids and labels: of a CSV file, a DataFrame, a mapping or labels."""
    if isinstance(labels, str | os.PathLike):
        yield from _file_rows(labels)
    elif isinstance(labels, Mapping):
        yield from labels.items()
    elif hasattr(labels, "to_dict"):
        yield from _columns(labels.to_dict("records"), "the table")
    else:
        for label in labels:
            yield label.request_id, label.verdict.value


def _file_rows(path: PathLike) -> Iterator[tuple[object, object]]:
    data = read_small_file(path, "a CSV file with labels", limit=_MOST_BYTES)
    try:
        yield from _columns(csv.DictReader(StringIO(data.decode("utf-8-sig"))), str(path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}; expected a CSV file with labels") from None


def _columns(rows: Iterable[Mapping[Any, Any]], what: str) -> Iterator[tuple[object, object]]:
    for row in rows:
        if ID not in row or LABEL not in row:
            raise InputError(f"{what} has no columns {ID} and {LABEL}; expected both")
        yield row[ID], row[LABEL]


def _is_empty(word: object) -> bool:
    is_nan = isinstance(word, float) and word != word
    return word is None or is_nan or not str(word).strip() or str(word) == "<NA>"


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _without_formula(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
