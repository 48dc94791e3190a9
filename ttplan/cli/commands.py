"""The commands. Each parses, calls the workspace, and shows."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from ttplan.cli.output import frame_json, show_frame, show_json
from ttplan.model.audit import User
from ttplan.model.errors import Cancelled, InputError

if TYPE_CHECKING:
    import pandas as pd

    from ttplan.workspace import Workspace

app = typer.Typer(
    name="ttplan",
    help="What-if plans for LLM traffic, applied in one transaction and provable afterwards.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="TTPLAN_STORE",
        help="The store: a DuckDB file, or a database: postgresql://…",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key-file", help="The signing key (PEM); otherwise the one beside the store."),
]
PricesOption = Annotated[
    Path | None, typer.Option(help="Prices of your own, over the catalogue's: a YAML file.")
]
StartOption = Annotated[
    str | None, typer.Option(help="The window's first moment, such as 2026-05-01T00:00:00Z.")
]
EndOption = Annotated[str | None, typer.Option(help="The first moment after the window.")]
DEFAULT_STORE = "ttplan.duckdb"


def open_store(
    store: str | Path,
    *,
    create: bool = False,
    key_file: Path | None = None,
    org_id: str | None = None,
) -> Workspace:
    """The workspace of `--store`."""
    from ttplan.workspace.open import open_workspace

    return open_workspace(
        store,
        create=create,
        key_file=key_file,
        org_id=read_uuid(org_id, "--org") if org_id else None,
    )


def read_uuid(text: str, option: str) -> UUID:
    """A UUID as an option gives it."""
    try:
        return UUID(text)
    except ValueError:
        raise InputError(f"{option} is {text!r}; expected a UUID") from None


@app.command("import")
def import_(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, globs, or a database: DuckDB or postgresql://", show_default=False
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[
        str | None,
        typer.Option(help="The log's format, or its kind of file, where it cannot be seen."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="How to read any other format: a YAML file, as `ttplan inspect` drafts it."
        ),
    ] = None,
    table: Annotated[str | None, typer.Option(help="The table of a database.")] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows", help="Leave out rows that cannot be used, and report them."
        ),
    ] = False,
    cost: Annotated[
        str,
        typer.Option(
            help="The baseline: costs as recorded, recomputed, or doctor: recomputed where wrong."
        ),
    ] = "recorded",
    prices: PricesOption = None,
    with_bodies: Annotated[
        bool, typer.Option("--with-bodies", help="Keep prompts and answers, too.")
    ] = False,
    with_embeddings: Annotated[
        bool, typer.Option("--with-embeddings", help="Keep embeddings, too.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Report what the log doctor finds in it.")] = True,
    org: Annotated[
        str | None,
        typer.Option(help="Whose the store is, where the log has several organisations."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add logged requests to the store, made where there is none. Each file is added whole or not at all."""
    workspace = open_store(store, create=True, org_id=org)
    reports = []
    for file in files:
        report = workspace.import_logs(
            file,
            format=format,
            mapping=mapping,
            table=table,
            on_bad_rows="skip" if skip_bad_rows else "refuse",
            cost=cost,  # type: ignore[arg-type]  # the chooser says which there are
            prices=prices,
            with_bodies=with_bodies,
            with_embeddings=with_embeddings,
            check=check,
        )
        reports.append(report)
        if not json:
            print(report)
    if json:
        show_json([report.model_dump(mode="json") for report in reports])


@app.command()
def plan(
    routes: Annotated[
        Path, typer.Argument(help="The routes to try: a YAML file.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="What to call the plan.", show_default=False)],
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    start: StartOption = None,
    end: EndOption = None,
    seed: Annotated[int, typer.Option(help="What resampling begins with.")] = 0,
    method: Annotated[
        str, typer.Option(help="Intervals by limit, resample or tt-plan-core.")
    ] = "limit",
    allow_unpriced: Annotated[
        bool,
        typer.Option("--allow-unpriced", help="Count requests to unpriced models at their cost."),
    ] = False,
    requests: Annotated[
        list[str] | None,
        typer.Option(
            "--requests",
            help="Replay these Parquet files where they are, not the store: file, folder or glob.",
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            "--memory-limit", help="The most memory that DuckDB uses for them, such as 2GB."
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(help="Who makes the plan, where others shall approve it: a person's UUID."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Replay the logged requests against routes, and keep the result as a projected plan."""
    # A store that has only plans is made here, as one with a log is by an import.
    try:
        found = open_store(store, create=bool(requests)).plan(
            routes,
            name=name,
            window=window(start, end),
            prices=prices,
            seed=seed,
            interval_method=method,  # type: ignore[arg-type]  # the engine says which there are
            allow_unpriced=allow_unpriced,
            requests=requests or None,
            memory_limit=memory_limit,
            author=None if author is None else User(read_uuid(author, "--author")),
            progress=False if json else None,
        )
    except KeyboardInterrupt as interrupt:  # Typer would drop its words
        if not str(interrupt):
            raise
        raise Cancelled(str(interrupt)) from None
    _show_plan(found, json)


@app.command()
def suggest(
    target: Annotated[
        list[str],
        typer.Option(
            "--target", help="A model to send requests to; may be repeated.", show_default=False
        ),
    ],
    by: Annotated[
        str, typer.Option(help="What routes may tell apart, of tag, model and input_tokens.")
    ] = "tag,model,input_tokens",
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    start: StartOption = None,
    end: EndOption = None,
    min_share: Annotated[
        float, typer.Option("--min-share", help="What a route has to save, as a share of the cost.")
    ] = 0.01,
    limit: Annotated[int, typer.Option(help="How many routes to show at most.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write the confirmed routes there, as a plan's YAML file."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file where there is one.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Propose routes: half of the window chooses them, the other half confirms them."""
    found = open_store(store).suggest(
        target,
        [name.strip() for name in by.split(",") if name.strip()],
        window=window(start, end),
        prices=prices,
        min_share=min_share,
        limit=limit,
    )
    if output is not None:
        found.to_yaml(output, overwrite=overwrite)
    if json:
        show_json(found.result.model_dump(mode="json"))
        return
    print(found)
    if output is not None:
        count = len(found.routes)
        print(
            f"\n{count} {'route' if count == 1 else 'routes'} written to {output}: edit them, and replay them with"
        )
        print(f"ttplan plan {output} --name NAME --store {store}")


def window(start: str | None, end: str | None) -> tuple[datetime, datetime] | None:
    """The window of `--start` and `--end`, both or neither."""
    if (start is None) != (end is None):
        raise InputError("--start and --end go together; give both, or neither for the whole log")
    return (
        None if start is None or end is None else (moment(start, "--start"), moment(end, "--end"))
    )


_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def read_length(text: str, option: str) -> timedelta:
    """A length of time as an option gives it."""
    found = re.fullmatch(r"(\d{1,6})([dhms])", text.strip())
    if found is None or int(found[1]) == 0:
        raise InputError(f"{option} is {text!r}; expected a length such as 7d, 12h, 30m or 90s")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def moment(text: str, option: str) -> datetime:
    """A moment as an option gives it, with its zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{option} is {text!r}; expected a moment such as 2026-05-01T00:00:00Z"
        ) from None
    if found.tzinfo is None:
        raise InputError(
            f"{option} {text} has no time zone; expected a moment such as 2026-05-01T00:00:00Z"
        )
    return found


def _show_plan(found: Any, json: bool) -> None:
    if json:
        # A failed plan has a reason and no figures: its zeros are nobody's.
        hidden = {"nonce", "result"} if found.status == "failed" else {"nonce"}
        show_json(found.run.model_dump(mode="json", exclude=hidden))
    else:
        print(found)


@app.command()
def plans(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """List all plans, oldest first."""
    frame = open_store(store).plans()
    if json:
        show_json(frame_json(frame))
        return
    frame["id"] = frame["plan_id"].str[:8]
    frame["saves USD"], frame["95 % interval"] = frame["savings_usd"], _interval(frame)
    frame["less than paid"] = frame["change_vs_actual_usd"]
    columns = ["id", "name", "status", "requests", "saves USD", "95 % interval", "less than paid"]
    show_frame(
        frame,
        title="plans (USD per window, 95 % interval)",
        columns=columns,
        empty="no plans yet: make one with `ttplan plan`",
    )


def _interval(frame: pd.DataFrame) -> list[str | None]:
    ends = zip(frame["savings_usd_lo"], frame["savings_usd_hi"], strict=True)
    return [None if low != low else f"{low:,.2f} to {high:,.2f}" for low, high in ends]


PlanArgument = Annotated[
    str, typer.Argument(help="The plan's id, or the first digits of it.", show_default=False)
]


@app.command()
def show(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Show a plan's card."""
    _show_plan(open_store(store).get(plan_id), json)


@app.command()
def savings(
    store: StoreOption = DEFAULT_STORE,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="route, tag, model, target_model or day; may be given several times."
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", help="Of this plan only: its id, or the first digits of it."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what each plan saves, or each part of it."""
    frame = open_store(store).savings(by or "plan", plan=plan)
    if json:
        show_json(frame_json(frame))
        return
    frame["saves USD"], frame["95 % interval"] = frame["savings_usd"], _interval(frame)
    frame["less than paid"] = frame["change_vs_actual_usd"]
    columns = ["name", *(by or ()), "requests", "saves USD", "95 % interval", "less than paid"]
    show_frame(
        frame,
        title="savings (USD per window, 95 % interval)",
        columns=columns,
        empty="no plans yet: make one with `ttplan plan`",
    )
    for note in frame.attrs["notes"]:
        print(note)


@app.command()
def demo(
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            help="Where to keep the demo's store: a new file, or postgresql://…; else nowhere.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Tell the whole story on the sample log: import, plan, apply, verify, and a tampering found."""
    from ttplan.cli.demo import tell

    tell(store, json)
