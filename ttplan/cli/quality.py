"""Commands on the quality of a plan's answers: how many to judge, the check, and labels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from ttplan.cli.options import (
    DEFAULT_STORE,
    PLAN,
    JsonOption,
    PlanArgument,
    StoreOption,
    app,
    argument,
    open_store,
    option,
    read_usd,
)
from ttplan.cli.output import show_result, show_value
from ttplan.model.errors import InputError
from ttplan.util.paths import file_exists

JudgeCallOption = Annotated[
    str | None, option("The cost of one judgement, if the catalogue has no price.")
]


@app.command("samples-needed", rich_help_panel=PLAN)
def samples_needed(
    plan_id: Annotated[
        str | None, argument("The plan whose answers are to be judged, for the cost.")
    ] = None,
    max_degraded: Annotated[
        float, option("The degraded share to rule out, such as 0.05 for 5 %.")
    ] = 0.05,
    power: Annotated[float, option("The probability with which that succeeds.")] = 0.8,
    true_share: Annotated[
        list[float] | None, option("A degraded share to answer for; may be repeated.")
    ] = None,
    sensitivity: Annotated[
        float | None, option("The share of bad answers that the judge finds.")
    ] = None,
    specificity: Annotated[
        float | None, option("The share of good answers that the judge accepts.")
    ] = None,
    controls: Annotated[int, option("The --controls that the check will have.")] = 0,
    judge_model: Annotated[
        str | None, option("The model that compares the answers, for its price.", "--judge")
    ] = None,
    judge_call_usd: JudgeCallOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """How many answers to judge to show that few are degraded, and what that costs."""
    call_usd = None if judge_call_usd is None else read_usd(judge_call_usd, "--judge-call-usd")
    card = open_store(store).samples_needed(
        plan_id,
        max_degraded=max_degraded,
        power=power,
        true_shares=true_share or None,
        sensitivity=sensitivity,
        specificity=specificity,
        controls=controls,
        judge=judge_model,
        judge_call_usd=call_usd,
    )
    show_result(card, json)


@app.command("check-quality", rich_help_panel=PLAN)
def check_quality(
    plan_id: PlanArgument,
    base_url: Annotated[str, option("An OpenAI-compatible API, such as http://127.0.0.1:8000/v1.")],
    judge_model: Annotated[str, option("The model that compares the answers.", "--judge")],
    budget_usd: Annotated[
        str, option("The maximum cost of the check; estimated before anything is sent.")
    ],
    allow_bodies: Annotated[
        bool, option("Allow sending recorded prompts and answers to that API.", "--allow-bodies")
    ] = False,
    sample: Annotated[int, option("The number of requests to sample.")] = 200,
    seed: Annotated[int, option("The seed for the sample.")] = 0,
    controls: Annotated[
        int, option("For how many of them to try the judge on answers of known quality.")
    ] = 0,
    cache_hits: Annotated[
        int, option("How many hits of the semantic cache to judge at each threshold.")
    ] = 0,
    pairs: Annotated[
        Path | None, option("Write pairs of answers to this CSV file, for people to label.")
    ] = None,
    api_key_env: Annotated[
        str | None, option("The environment variable that holds the API's key.")
    ] = None,
    judge_call_usd: JudgeCallOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Let the new models answer a sample of the rerouted requests, and let a judge compare."""
    from ttplan.operations.plans.quality import chat_endpoints, quality_limits
    from ttplan.quality.judge.labels import AnswerPairs

    if pairs is not None and file_exists(pairs):
        raise InputError(f"--pairs: {pairs} exists already; choose another path")
    workspace = open_store(store)
    plan = workspace.show(plan_id)
    judge, proposer = chat_endpoints(
        plan.run, base_url, judge_model, at=datetime.now(UTC), api_key_env=api_key_env, seed=seed
    )
    budget = read_usd(budget_usd, "--budget-usd")
    settings = quality_limits(None, budget, allow_bodies)
    if judge_call_usd is not None:
        call_usd = read_usd(judge_call_usd, "--judge-call-usd")
        settings = settings.model_copy(update={"judge_call_usd": call_usd})
    kept = AnswerPairs()
    checked = workspace.check_quality(
        plan,
        judge=judge,
        proposer=proposer,
        budget_usd=budget,
        allow_bodies=allow_bodies,
        sample_size=sample,
        seed=seed,
        controls=controls,
        cache_hits=cache_hits,
        pairs=None if pairs is None else kept,
        settings=settings,
    )
    if pairs is not None:
        kept.to_csv(pairs)
    quality = checked.result.quality
    show_value(quality and quality.model_dump(mode="json"), checked.quality_text(), json)


@app.command("set-labels", rich_help_panel=PLAN)
def set_labels(
    plan_id: PlanArgument,
    labels: Annotated[Path, argument("A CSV file with the columns request_id and label.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Keep what people said of judged answers, and correct the degraded share by it."""
    labelled = open_store(store).set_labels(plan_id, labels)
    quality = labelled.result.quality
    show_value(quality and quality.model_dump(mode="json"), labelled.quality_text(), json)
