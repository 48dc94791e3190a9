"""Controls of a check: answers whose quality is known, judged like the others.

A request's own model answers it again (the A/A floor), and answers made bad on purpose take the
place of the new one. The judge sees the same request, the same recorded answer, in the same order
as for the new answer, and is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from heapq import merge

from ttplan.model.results.quality import SampleScore
from ttplan.model.results.verdicts import ControlScore
from ttplan.quality.judge.planted import plant
from ttplan.quality.protocols import ReroutedRequest
from ttplan.quality.runner import CaseKey, JudgeCase

_NO_CHARGE = Decimal(0)


def control_cases(
    cases: Sequence[JudgeCase],
    count: int,
    *,
    seed: int,
    repeat_usd: Callable[[ReroutedRequest], Decimal],
) -> list[JudgeCase]:
    """For the first `count` of `cases`, the own model's answer, and a bad one.

    `repeat_usd` estimates the cost of the own model's answer.
    """
    controls = []
    for case in cases[:count]:
        request = case.request
        others = [c.original for c in cases if c.request.body != request.body]
        bad = plant(case.original, others, seed=seed, request_id=request.id)
        again = ReroutedRequest(request, request.model)
        controls.append(
            case._replace(rerouted=again, proposer_usd=repeat_usd(again), control="repeated")
        )
        controls.append(case._replace(proposer_usd=_NO_CHARGE, control=bad.kind, planted=bad.text))
    return controls


def interleave(cases: Sequence[JudgeCase], controls: Sequence[JudgeCase]) -> list[JudgeCase]:
    """Cases and controls, each in order and evenly mixed, so that an early end leaves both."""

    def placed(part: Sequence[JudgeCase]) -> Iterable[tuple[float, JudgeCase]]:
        return (((i + 0.5) / len(part), case) for i, case in enumerate(part))

    mixed = merge(placed(cases), placed(controls), key=lambda place: place[0])
    return [case for _, case in mixed]


def control_scores(
    cases: Iterable[JudgeCase], scores: dict[CaseKey, SampleScore]
) -> tuple[ControlScore, ...]:
    """The verdicts on the controls among `cases`, in their order."""
    return tuple(
        ControlScore(
            request_id=case.request.id, kind=case.control, verdict=scores[case.key].verdict
        )
        for case in cases
        if case.control is not None and case.key in scores
    )
