"""Judge a plan's answers: how many, the check itself, and what people say of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from ttplan.model.errors import InputError
from ttplan.model.results.samples import SamplesNeeded
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.context import Context, PlanRef, find_plan

if TYPE_CHECKING:
    from ttplan.quality.judge.labels import AnswerPairs, Labels
    from ttplan.quality.protocols import Judge, Proposer, QualitySettings


def samples_needed(
    context: Context,
    plan: PlanRef | None = None,
    *,
    max_degraded: float = 0.05,
    power: float = 0.8,
    true_shares: Sequence[float] | None = None,
    sensitivity: float | None = None,
    specificity: float | None = None,
    controls: int = 0,
    judge: str | None = None,
    judge_call_usd: Decimal | None = None,
) -> SamplesNeeded:
    """How many answers to judge to show that few are degraded, and what that costs.

    Nothing is sent. The number is the smallest whose 95 % interval ends below `max_degraded` with
    probability `power`, by the exact binomial distribution.

    Parameters
    ----------
    plan : Plan, UUID or str, optional
        The plan whose answers are to be judged, for the cost.
    max_degraded : float, default 0.05
        The degraded share that is to be ruled out, 0 to 1.
    power : float, default 0.8
        The probability with which that succeeds, 0 to 1.
    true_shares : sequence of float, optional
        The degraded shares to answer for, 0 to 1; by default 0 to three fifths of `max_degraded`.
    sensitivity, specificity : float, optional
        How the judge errs, 0 to 1; by default as the plan's last check measured it, else 1.
    controls : int, default 0
        The `controls` that the check will measure these with. With 0 they are taken as known.
    judge : str, optional
        The model that judges, for its price in the catalogue.
    judge_call_usd : Decimal, optional
        The cost of one judgement, in USD, if the catalogue has no price.

    Returns
    -------
    SamplesCard
        Answers and USD by true share. ``result.rows`` has them; a number of None says that no
        number is enough.

    Raises
    ------
    InputError
        If a number cannot be used.
    PlanNotFound
        If there is no such plan.

    Examples
    --------
    >>> needed = ws.samples_needed(max_degraded=0.05, power=0.8)
    >>> [(row.true_share, row.answers) for row in needed.result.rows]
    [(0.0, 73), (0.01, 142), (0.02, 311), (0.03, 779)]
    """
    from ttplan.operations.plans.samples import JudgeCost, SamplesQuestion, count_samples
    from ttplan.prices import catalogue_price

    run = None if plan is None else find_plan(context.store, plan)
    quote = None if judge is None else catalogue_price(None, judge, context.clock())
    price = None if quote is None else quote.pricing
    question = SamplesQuestion(max_degraded, power, true_shares, sensitivity, specificity, controls)
    return count_samples(question, context.store, run, JudgeCost(judge, price, judge_call_usd))


def check_quality(
    context: Context,
    plan: PlanRef,
    *,
    judge: Judge,
    proposer: Proposer,
    budget_usd: Decimal | float,
    allow_bodies: bool = False,
    sample_size: int = 200,
    seed: int = 0,
    controls: int = 0,
    cache_hits: int = 0,
    pairs: AnswerPairs | None = None,
    settings: QualitySettings | None = None,
    progress: bool | None = None,
) -> StoredPlan:
    """Have a sample of a plan's rerouted requests answered by the new models, and judged.

    The result is kept with the plan. An interrupt keeps what was scored by then.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    judge : Judge
        Scores a pair of answers; `ttplan.ChatJudge` is a ready one.
    proposer : Proposer
        Answers a request with the new model; `ttplan.ChatProposer` is a ready one.
    budget_usd : Decimal or float
        The most that all calls may cost, in USD.
    allow_bodies : bool, default False
        Permit that recorded prompts and answers are sent to `judge` and `proposer`.
    sample_size : int, default 200
        How many requests to judge.
    seed : int, default 0
        Seed of the sample.
    controls : int, default 0
        For how many of these requests to try the judge out: on another answer of the logged model,
        and on an answer made bad on purpose. Its errors are then taken out of the degraded share.
    cache_hits : int, default 0
        How many hits of the plan's semantic cache to judge at each threshold: the answer that
        would be served, against the request's own. Its budget has to suffice, as for the others.
    pairs : AnswerPairs, optional
        Keeps prompts and answers in memory, to label them.
    settings : QualitySettings, optional
        Further limits.
    progress : bool, optional
        As in `plan`.

    Returns
    -------
    Plan
        The plan with what was found.

    Raises
    ------
    InputError
        Before anything is sent, if the budget does not suffice or something is not known.

    Examples
    --------
    The sample log has no recorded prompts, so there is nothing to judge:

    >>> async def judge(pair): ...
    >>> async def proposer(request, target_model): ...
    >>> checked = ws.check_quality("cheaper", judge=judge, proposer=proposer, budget_usd=1,
    ...                            allow_bodies=True)
    >>> checked.result.quality.sample_size
    0
    """
    from ttplan.operations.plans.quality import judge_sample, quality_limits
    from ttplan.util.monitor import show_progress

    for name, number in (("controls", controls), ("cache_hits", cache_hits)):
        if number < 0:
            raise InputError(f"{name} is {number}; expected 0 or more")
    run = find_plan(context.store, plan)
    limits = quality_limits(settings, budget_usd, allow_bodies)
    hits = cache_hits * len(run.config.l2_threshold_sweep)
    total = sample_size + 2 * controls + hits
    with show_progress("judging", progress, total=total) as monitor:
        judge_sample(
            context.store,
            run,
            judge,
            proposer,
            limits,
            sample_size=sample_size,
            seed=seed,
            controls=controls,
            cache_hits=cache_hits,
            pairs=pairs,
            progress=monitor.count,
        )
    return find_plan(context.store, run.plan_id)


def set_labels(context: Context, plan: PlanRef, labels: Labels) -> StoredPlan:
    """Keep what people said of judged answers, and correct the degraded share by it.

    The labels replace earlier ones. They are kept with the plan's quality result, not in the audit
    chain.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    labels : path, DataFrame, mapping or sequence of Label
        A CSV file or DataFrame with the columns ``request_id`` and ``label``, a mapping of ids to
        labels, or labels. A label is ``a``, ``b``, ``same`` or ``unclear`` (which answer of the
        blind pair is clearly worse), or a verdict on the new answer.

    Returns
    -------
    Plan
        The plan with the corrected share.

    Raises
    ------
    InputError
        If a label cannot be used, or the plan has no judged answers.
    PlanNotFound
        If there is no such plan.

    Examples
    --------
    The example plan has no judged answers yet:

    >>> ws.set_labels("cheaper", {})
    Traceback (most recent call last):
    ...
    ttplan.model.errors.InputError: plan 'cheaper' has no judged answers to label; ...
    """
    from ttplan.operations.plans.quality import store_labels

    run = find_plan(context.store, plan)
    store_labels(context.store, run, labels)
    return find_plan(context.store, run.plan_id)
