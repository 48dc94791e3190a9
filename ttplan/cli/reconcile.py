"""The commands that hold plans against what happened."""

from __future__ import annotations

from typing import Annotated

import typer

from ttplan.cli.commands import (
    DEFAULT_STORE,
    JsonOption,
    PlanArgument,
    StoreOption,
    app,
    moment,
    open_store,
)
from ttplan.cli.output import show_json


@app.command()
def reconcile(
    plan_id: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    until: Annotated[
        str | None, typer.Option(help="Count requests before this moment only.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Hold an applied plan against the requests that were logged while its routes were live, and keep what was found."""
    shown = open_store(store).reconcile(
        plan_id, until=None if until is None else moment(until, "--until")
    )
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)


@app.command("track-record")
def track_record(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Show how plans did: how often their interval held, the median error and the bias."""
    shown = open_store(store).track_record()
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)
