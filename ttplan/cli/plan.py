"""Commands that make and show plans: replay, suggest and back-test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ttplan.cli.options import (
    DEFAULT_STORE,
    PLAN,
    AllowUnpricedOption,
    EndOption,
    JsonOption,
    OverwriteOption,
    PlanArgument,
    PricesOption,
    StartOption,
    StoreOption,
    app,
    argument,
    open_store,
    option,
    read_actor,
    read_duration,
    read_window,
)
from ttplan.cli.output import count, show_frame, show_plan, show_result, show_text
from ttplan.model.errors import Cancelled, InputError

if TYPE_CHECKING:
    import pandas as pd

    from ttplan.model.plan import PlanConfig, Projection

FactsOption = Annotated[
    Path | None,
    option("Your own limits, capabilities and cache rules of models: a YAML file."),
]
ProjectionOption = Annotated[
    str | None,
    option(
        "How to project costs: full, or reference (three flat rates); default: the plan file's, "
        "else full."
    ),
]
RoutesArgument = Annotated[Path, argument("The routes: a YAML file.")]
_NO_PLANS = "no plans yet: make one with `ttplan plan`"


@app.command(rich_help_panel=PLAN)
def plan(
    routes: RoutesArgument,
    name: Annotated[str, option("The name of the plan.", show_default=False)],
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    facts: FactsOption = None,
    projection: ProjectionOption = None,
    start: StartOption = None,
    end: EndOption = None,
    seed: Annotated[int, option("The seed for resampling.")] = 0,
    method: Annotated[
        str, option("How to compute intervals: auto, limit, resample or tt-plan-core.")
    ] = "auto",
    allow_unpriced: AllowUnpricedOption = False,
    requests: Annotated[
        list[str] | None,
        option("Replay these Parquet files (file, folder or glob) in place, not the store."),
    ] = None,
    memory_limit: Annotated[
        str | None, option("The memory limit for reading them, such as 2GB.")
    ] = None,
    author: Annotated[
        str | None, option("The plan's author, for approvals: an e-mail address, a name or a UUID.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Replay the logged requests with other routes, and keep the result as a projected plan."""
    # With --requests the store holds only plans, so it is created here and not by an import.
    workspace = open_store(store, create=bool(requests))
    try:
        made = workspace.plan(
            routes,
            name=name,
            window=read_window(start, end),
            prices=prices,
            facts=facts,
            config=_read_config(routes, projection),
            seed=seed,
            interval_method=method,  # type: ignore[arg-type]  # the library checks the value
            allow_unpriced=allow_unpriced,
            requests=requests or None,
            memory_limit=memory_limit,
            author=None if author is None else read_actor(author),
            progress=False if json else None,
        )
    except KeyboardInterrupt as interrupt:  # Typer would drop its message
        if not str(interrupt):
            raise
        raise Cancelled(str(interrupt)) from None
    show_plan(made, json)


@app.command(rich_help_panel=PLAN)
def plans(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """List all plans, oldest first."""
    frame = open_store(store).plans()
    if not json:
        frame["id"] = frame["plan_id"].str[:8]
    _show_savings(frame, json, "plans", ["id", "name", "status"])


@app.command(rich_help_panel=PLAN)
def show(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Show a plan's card."""
    show_plan(open_store(store).show(plan_id), json)


@app.command(rich_help_panel=PLAN)
def assumptions(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """List what a plan assumes of its models: values, sources, effects and break-evens."""
    frame = open_store(store).assumptions(plan_id)
    if not json:
        frame["effect USD"] = frame["effect_usd"]
        frame["breaks even"] = frame["break_even"]
        frame["saves USD"] = [
            None if low != low else f"{low:,.2f} to {high:,.2f}"
            for low, high in zip(frame["low_usd"], frame["high_usd"], strict=True)
        ]
    show_frame(
        frame,
        json,
        title="assumptions (USD per window)",
        columns=[
            "assumption",
            "target_model",
            "value",
            "unit",
            "source",
            "effect USD",
            "saves USD",
            "breaks even",
        ],
        empty="no assumptions: the plan is not a full projection",
    )


@app.command(rich_help_panel=PLAN)
def savings(
    store: StoreOption = DEFAULT_STORE,
    by: Annotated[
        list[str] | None,
        option("cause; or route, tag, model, target_model or day, which may be repeated."),
    ] = None,
    plan: Annotated[str | None, option("Only this plan: its id, or its first digits.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what each plan saves, in total or by part."""
    frame = open_store(store).savings(by or "plan", plan=plan)
    _show_savings(frame, json, "savings", ["name", *(by or ())])
    if not json:
        for note in frame.attrs["notes"]:
            show_text(note)


def _read_config(routes: Path, projection: str | None) -> PlanConfig | None:
    """The plan file's config with the projection of `--projection`; None to leave it as it is."""
    from ttplan.gateways.plan_file import read_plan_file
    from ttplan.model.plan import PlanConfig

    if projection is None:
        return None
    config = read_plan_file(routes).config or PlanConfig()
    return config.model_copy(update={"projection": _read_projection(projection)})


def _read_projection(text: str) -> Projection:
    if text not in ("full", "reference"):
        raise InputError(f"--projection is {text!r}; expected full or reference")
    return text  # type: ignore[return-value]  # checked above


def _show_savings(frame: pd.DataFrame, json: bool, title: str, columns: list[str]) -> None:
    """Print a frame of plans or of parts of them: what they save of what was paid, with its
    interval."""
    names = [*columns, "saves USD", "95 % interval"]
    if not json:
        low, high = (frame[f"change_vs_actual_usd_{end}"] for end in ("lo", "hi"))
        frame["saves USD"] = frame["change_vs_actual_usd"]
        frame["95 % interval"] = [
            None if low != low else f"{low:,.2f} to {high:,.2f}"
            for low, high in zip(low, high, strict=True)
        ]
        if "requests" in frame:
            names.insert(len(columns), "requests")
        for column, name in (("saved_already_usd", "already"), ("per_month_usd", "a month")):
            if column in frame:
                frame[name] = frame[column]
                names.append(name)
    show_frame(
        frame,
        json,
        title=f"{title} (USD per window, against what was paid, 95 % interval)",
        columns=names,
        empty=_NO_PLANS,
    )


@app.command(rich_help_panel=PLAN)
def suggest(
    target: Annotated[
        list[str], option("A model to send requests to; may be repeated.", show_default=False)
    ],
    by: Annotated[
        str, option("What routes may distinguish: tag, model and input_tokens.")
    ] = "tag,model,input_tokens",
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    facts: FactsOption = None,
    projection: Annotated[str, option("How to project costs: full or reference.")] = "full",
    start: StartOption = None,
    end: EndOption = None,
    min_share: Annotated[
        float, option("The minimum saving of a route, as a share of the cost.")
    ] = 0.01,
    limit: Annotated[int, option("The maximum number of routes to show.")] = 20,
    output: Annotated[
        Path | None, option("Write the confirmed routes there, as a plan file (YAML).")
    ] = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Propose routes: one half of the window selects them, the other half confirms them."""
    suggestions = open_store(store).suggest(
        target,
        [name.strip() for name in by.split(",") if name.strip()],
        window=read_window(start, end),
        prices=prices,
        facts=facts,
        projection=_read_projection(projection),
        min_share=min_share,
        limit=limit,
    )
    if output is not None:
        suggestions.to_yaml(output, overwrite=overwrite)
    show_result(suggestions, json)
    if output is not None and not json:
        routes = count(len(suggestions.routes), "route")
        if not suggestions.routes:
            show_text(f"\n{routes} written to {output}: none is confirmed")
            return
        show_text(f"\n{routes} written to {output}: edit them, and replay them with")
        show_text(f"ttplan plan {output} --name NAME --store {store}")


@app.command(rich_help_panel=PLAN)
def backtest(
    routes: RoutesArgument,
    period: Annotated[str, option("The length of a period: 7d, 12h, 30m or 90s.")] = "7d",
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    facts: FactsOption = None,
    projection: ProjectionOption = None,
    start: StartOption = None,
    end: EndOption = None,
    allow_unpriced: AllowUnpricedOption = False,
    json: JsonOption = False,
) -> None:
    """Replay routes on each period of the log, and compare the intervals with the next period."""
    card = open_store(store).backtest(
        routes,
        period=read_duration(period, "--period"),
        window=read_window(start, end),
        prices=prices,
        facts=facts,
        config=_read_config(routes, projection),
        allow_unpriced=allow_unpriced,
    )
    show_result(card, json)
