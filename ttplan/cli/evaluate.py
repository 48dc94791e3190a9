"""The commands that put a plan to the test: against the log's own future, and against what its new models answer."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.commands import (
    DEFAULT_STORE,
    EndOption,
    JsonOption,
    PricesOption,
    StartOption,
    StoreOption,
    app,
    open_store,
    read_length,
    window,
)
from ttplan.cli.output import show_json
from ttplan.model.errors import InputError


@app.command()
def backtest(
    routes: Annotated[Path, typer.Argument(help="The routes: a YAML file.", show_default=False)],
    period: Annotated[
        str, typer.Option(help="How long each period is: 7d, 12h, 30m or 90s.")
    ] = "7d",
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    start: StartOption = None,
    end: EndOption = None,
    allow_unpriced: Annotated[
        bool,
        typer.Option(
            "--allow-unpriced",
            help="Count requests whose target has no price at their actual cost.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Replay routes on each period of the log, and hold the intervals against the next period."""
    found = open_store(store).backtest(
        routes,
        period=read_length(period, "--period"),
        window=window(start, end),
        prices=prices,
        allow_unpriced=allow_unpriced,
    )
    if json:
        show_json(found.result.model_dump(mode="json"))
    else:
        print(found)


@app.command("check-quality")
def check_quality(
    plan_id: Annotated[
        str, typer.Argument(help="The plan's id, or its first digits.", show_default=False)
    ],
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url", help="An OpenAI-compatible API, such as http://127.0.0.1:8000/v1."
        ),
    ],
    judge_model: Annotated[
        str, typer.Option("--judge", help="The model that compares the answers.")
    ],
    budget_usd: Annotated[
        str,
        typer.Option(
            "--budget-usd", help="What the check may cost at most; checked before it begins."
        ),
    ],
    allow_bodies: Annotated[
        bool,
        typer.Option(
            "--allow-bodies", help="Recorded prompts and answers may be sent to that API."
        ),
    ] = False,
    sample: Annotated[int, typer.Option(help="How many requests to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="The seed of the draw.")] = 0,
    api_key_env: Annotated[
        str | None,
        typer.Option("--api-key-env", help="The environment variable that holds the API's key."),
    ] = None,
    judge_call_usd: Annotated[
        str | None,
        typer.Option(
            "--judge-call-usd", help="What one judgement costs, where no catalogue knows the judge."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Have a sample of what a plan reroutes answered by its new models, and judged."""
    from ttplan.operations.plans.quality import chat_parties, limits_of

    workspace = open_store(store)
    plan = workspace.get(plan_id)
    judge, proposer = chat_parties(
        plan.run, base_url, judge_model, at=datetime.now(UTC), api_key_env=api_key_env, seed=seed
    )
    budget = _usd(budget_usd, "--budget-usd")
    settings = limits_of(None, budget, allow_bodies)
    if judge_call_usd is not None:
        settings = settings.model_copy(
            update={"judge_call_usd": _usd(judge_call_usd, "--judge-call-usd")}
        )
    checked = workspace.check_quality(
        plan,
        judge=judge,
        proposer=proposer,
        budget_usd=budget,
        allow_bodies=allow_bodies,
        sample_size=sample,
        seed=seed,
        settings=settings,
    )
    quality = checked.result.quality
    if json:
        show_json(None if quality is None else quality.model_dump(mode="json"))
    else:
        print(checked.quality_text())


def _usd(text: str, option: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise InputError(f"{option} is {text!r}; expected an amount in USD") from None
    if not amount.is_finite() or amount < 0:
        raise InputError(f"{option} is {text}; expected an amount in USD, not negative")
    return amount
