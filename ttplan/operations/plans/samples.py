"""How many answers to judge, and what they cost, by the plan's prices and the logged tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from ttplan.engine.cost import REROUTED
from ttplan.engine.dialects import fetch
from ttplan.engine.project import map_requests
from ttplan.model.errors import InputError
from ttplan.model.money import round_money
from ttplan.model.pricing import ModelPricing, find_price
from ttplan.model.results.samples import SamplesNeeded, SamplesRow
from ttplan.model.results.verdicts import JudgeAccuracy
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.plans.quality import is_recorded, rerouting_spec
from ttplan.quality.chat import INSTRUCTION_TOKENS, JUDGE_TOKENS
from ttplan.quality.correction import Rate, answers_needed
from ttplan.quality.usage import token_cost_usd
from ttplan.store.protocol import Store

_STEPS = 5
"""By default the true shares are 0 to 3 fifths of the limit."""


@dataclass(frozen=True)
class SamplesQuestion:
    """What is asked: shares and probabilities, 0 to 1, and how the judge errs.

    `controls` answers of each kind measure its errors; with 0 they are taken as known.
    """

    max_degraded: float
    power: float
    true_shares: Sequence[float] | None
    sensitivity: float | None
    specificity: float | None
    controls: int


class JudgeCost(NamedTuple):
    """What a judgement costs: the judge's price, or USD per call; neither if it is not known."""

    name: str | None = None
    price: ModelPricing | None = None
    call_usd: Decimal | None = None


class _Costs(NamedTuple):
    """Expected USD for one answer, one judgement, and one more answer of the logged model."""

    available: int
    recorded: bool
    answer_usd: Decimal | None
    judge_usd: Decimal | None
    repeat_usd: Decimal


def count_samples(
    question: SamplesQuestion, store: Store, run: StoredPlan | None, judge: JudgeCost
) -> SamplesNeeded:
    """Answer the question for several true shares; with a plan, with costs. Nothing is sent."""
    _check(question)
    accuracy = None if run is None else _measured(run)
    rates = _rates(question, accuracy)
    sensitivity, specificity = (
        Rate(share) if not question.controls else Rate(share * question.controls, question.controls)
        for share in rates
    )
    costs = None if run is None else _costs(store, run, judge)
    shares = question.true_shares
    if shares is None:
        shares = [round(i * question.max_degraded / _STEPS, 6) for i in range(4)]
    control_usd = _control_usd(question.controls, costs)
    rows = []
    for share in shares:
        answers = answers_needed(
            question.max_degraded,
            question.power,
            share,
            sensitivity=sensitivity,
            specificity=specificity,
        )
        cost = _row_usd(answers, costs, control_usd)
        rows.append(SamplesRow(true_share=share, answers=answers, cost_usd=cost))
    return SamplesNeeded(
        max_degraded=question.max_degraded,
        power=question.power,
        sensitivity=rates[0],
        specificity=rates[1],
        controls=question.controls,
        plan=None if run is None else run.name,
        judge=judge.name,
        available=None if costs is None else costs.available,
        answer_usd=None if costs is None else costs.answer_usd,
        judge_usd=None if costs is None else costs.judge_usd,
        control_usd=control_usd,
        rows=tuple(rows),
        notes=tuple(_notes(question, accuracy, costs, rows)),
    )


def _check(question: SamplesQuestion) -> None:
    for name in ("max_degraded", "power", "sensitivity", "specificity"):
        value = getattr(question, name)
        is_open = name in ("max_degraded", "power")
        if value is not None and not (0 < value < 1 if is_open else 0 <= value <= 1):
            raise InputError(f"{name} is {value}; expected a share, such as 0.05 for 5 %")
    if any(not 0 <= share <= 1 for share in question.true_shares or ()):
        raise InputError(f"true_shares are {question.true_shares}; expected shares from 0 to 1")
    if not 0 <= question.controls <= 100_000:
        raise InputError(f"controls is {question.controls}; expected 0 to 100,000")


def _measured(run: StoredPlan) -> JudgeAccuracy | None:
    return None if run.result.quality is None else run.result.quality.judge_accuracy


def _rates(question: SamplesQuestion, accuracy: JudgeAccuracy | None) -> tuple[float, float]:
    """Sensitivity and specificity: as given, as the last check measured them, or perfect."""
    bad = None if accuracy is None else accuracy.sensitivity
    good = None if accuracy is None else accuracy.specificity
    sensitivity = question.sensitivity
    if sensitivity is None:
        sensitivity = 1.0 if bad is None else bad.share
    specificity = question.specificity
    if specificity is None:
        specificity = 1.0 if good is None else good.share
    return sensitivity, specificity


def _costs(store: Store, run: StoredPlan, judge: JudgeCost) -> _Costs:
    """The mean costs over the rerouted requests with a prompt and an answer, or over all of them
    if none has any."""
    spec = rerouting_spec(run)
    with store.read() as snapshot:
        log = snapshot.requests()
        with map_requests(log, spec) as mapped:
            moved = mapped.filter((mapped.outcome == REROUTED) & ~mapped.hit).select("id", "route")
            rows = log.mutate(
                recorded=(is_recorded(log.body) & is_recorded(log.response_body)).fill_null(False)
            ).join(moved, "id")
            sums = fetch(
                rows.group_by("recorded", "route", "provider").aggregate(
                    n=rows.count(),
                    input=rows.input_tokens.sum(),
                    output=rows.output_tokens.sum(),
                    usd=rows.cost_usd.sum(),
                )
            ).to_pylist()
    recorded = [part for part in sums if part["recorded"]]
    parts = recorded or sums
    n = sum(part["n"] for part in parts)
    if not n:
        return _Costs(0, False, None, None, Decimal(0))
    targets = [route.then.target_model for route in spec.active_routes]
    answers = [
        token_cost_usd(
            find_price(run.pricing, part["provider"], targets[part["route"]]),
            int(part["input"]),
            int(part["output"]),
        )
        for part in parts
    ]
    known = [usd for usd in answers if usd is not None]
    return _Costs(
        available=sum(part["n"] for part in recorded),
        recorded=bool(recorded),
        answer_usd=round_money(sum(known, Decimal(0)) / n) if len(known) == len(parts) else None,
        judge_usd=_judge_usd(judge, parts, n),
        repeat_usd=round_money(sum((Decimal(part["usd"]) for part in parts), Decimal(0)) / n),
    )


def _judge_usd(judge: JudgeCost, parts: Sequence[Mapping[str, Any]], n: int) -> Decimal | None:
    if judge.call_usd is not None:
        return judge.call_usd
    tokens = sum(int(part["input"]) + 2 * int(part["output"]) for part in parts)
    total = token_cost_usd(judge.price, INSTRUCTION_TOKENS * n + tokens, JUDGE_TOKENS * n)
    return None if total is None else round_money(total / n)


def _control_usd(controls: int, costs: _Costs | None) -> Decimal | None:
    """The cost of the controls: each is judged, and half of them are answered again."""
    if costs is None or costs.judge_usd is None:
        return None
    return round_money(controls * (2 * costs.judge_usd + costs.repeat_usd))


def _row_usd(
    answers: int | None, costs: _Costs | None, control_usd: Decimal | None
) -> Decimal | None:
    if answers is None or costs is None or costs.answer_usd is None or costs.judge_usd is None:
        return None
    return round_money(answers * (costs.answer_usd + costs.judge_usd) + (control_usd or 0))


def _notes(
    question: SamplesQuestion,
    accuracy: JudgeAccuracy | None,
    costs: _Costs | None,
    rows: Sequence[SamplesRow],
) -> list[str]:
    notes = []
    is_given = question.sensitivity is not None and question.specificity is not None
    if accuracy is None and not is_given:
        notes.append(
            "The judge is taken to be perfect, where nothing else is given. One that errs needs "
            "more answers: give its sensitivity and specificity."
        )
    if not question.controls:
        notes.append(
            "The judge's errors are taken as known. If a check measures them, give its number of "
            "controls."
        )
    if any(row.answers is None and row.true_share < question.max_degraded for row in rows):
        notes.append(
            "Where no number is enough, the judge's errors hide the share: try it on more "
            "controls, or take a better judge."
        )
    if costs is not None:
        notes += _cost_notes(costs, rows)
    return notes


def _cost_notes(costs: _Costs, rows: Sequence[SamplesRow]) -> list[str]:
    notes = []
    if not costs.recorded:
        notes.append(
            "No rerouted request has its prompt and answer recorded, so none can be judged: "
            "import the log with bodies."
        )
    elif any(row.answers is not None and row.answers > costs.available for row in rows):
        notes.append(
            f"Only {costs.available:,} rerouted requests have a recorded prompt and answer."
        )
    if costs.answer_usd is None:
        notes.append("The plan has no price of a target model, so the cost is not known.")
    if costs.judge_usd is None:
        notes.append("The judge's price is not known: name a judge, or give judge_call_usd.")
    else:
        notes.append(
            "Costs are expected ones. A check reserves the longest answers and all retries, so its "
            "budget must be higher."
        )
    return notes
