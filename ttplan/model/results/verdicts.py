"""Verdicts on answers, and what is known of the judge that gives them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import Field, model_validator

from ttplan.model.base import FrozenModel

Count = Annotated[int, Field(ge=0)]
ControlKind = Literal[
    "repeated", "truncated", "other_answer", "altered_numbers", "refusal", "wrong_language"
]
"""What a control is: the same model's answer once more, or a way to make an answer bad."""
AccuracySource = Literal["repeated", "planted", "labels"]
"""Answers that the same model gave again, answers made bad on purpose, or labels of people."""

Worse = Literal["a", "b", "same", "unclear"]
"""Which of two answers is clearly worse, as a person says; `same` if neither is."""


class Verdict(StrEnum):
    """A verdict on a proposed answer. UNCLEAR: undecided, or the judge was unreachable."""

    ACCEPTABLE = "acceptable"
    DEGRADED = "degraded"
    UNCLEAR = "unclear"


class ControlScore(FrozenModel):
    """The judge's verdict on an answer whose quality is known."""

    request_id: UUID
    kind: ControlKind
    verdict: Verdict

    @property
    def is_bad(self) -> bool:
        """Whether the answer was made bad on purpose."""
        return self.kind != "repeated"


class Label(FrozenModel):
    """A person's verdict on the new answer to a request.

    Examples
    --------
    >>> from uuid import UUID
    >>> from ttplan.model.results.verdicts import Label
    >>> Label(request_id=UUID(int=1), verdict="degraded").verdict
    <Verdict.DEGRADED: 'degraded'>
    """

    request_id: UUID
    verdict: Verdict


class KnownAnswers(FrozenModel):
    """Answers whose quality is known, and how many of them the judge classified correctly.

    `judged` does not count unclear verdicts.
    """

    source: AccuracySource
    judged: int = Field(ge=1)
    correct: Count

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.correct > self.judged:
            raise ValueError(f"{self.correct} of {self.judged} answers cannot be correct")
        return self

    @property
    def share(self) -> float:
        """The share that the judge classified correctly, 0 to 1."""
        return self.correct / self.judged


class JudgeAccuracy(FrozenModel):
    """How often a judge is right.

    Attributes
    ----------
    sensitivity : KnownAnswers or None
        Of bad answers: those that the judge calls degraded.
    specificity : KnownAnswers or None
        Of good answers: those that the judge calls acceptable.
    """

    sensitivity: KnownAnswers | None = None
    specificity: KnownAnswers | None = None


class AnswerPair(NamedTuple):
    """The two answers to a prompt in blind order, for a person to compare.

    `new_is_a` tells which one is the new one; do not show it.
    """

    request_id: UUID
    prompt: str
    answer_a: str
    answer_b: str
    new_is_a: bool

    def verdict_of(self, worse: Worse) -> Verdict:
        """The verdict on the new answer if a person finds this answer the clearly worse one."""
        return verdict_of(worse, new_is_a=self.new_is_a)


def verdict_of(worse: Worse, *, new_is_a: bool) -> Verdict:
    """The verdict on the new answer if this answer is clearly worse than the other."""
    if worse == "unclear":
        return Verdict.UNCLEAR
    is_new = worse == ("a" if new_is_a else "b")
    return Verdict.DEGRADED if is_new else Verdict.ACCEPTABLE
