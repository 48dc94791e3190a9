"""Commands that operate a store: check its health, back it up, migrate and copy it; the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.options import (
    DEFAULT_STORE,
    OPERATE,
    AnchorsOption,
    JsonOption,
    KeyFileOption,
    KeyHexOption,
    OrgOption,
    OverwriteOption,
    StoreOption,
    app,
    argument,
    open_store,
    option,
    read_anchors_option,
    read_duration,
)
from ttplan.cli.output import show_result, show_value


@app.command(rich_help_panel=OPERATE)
def health(
    store: StoreOption = DEFAULT_STORE,
    key_hex: KeyHexOption = None,
    price_age: Annotated[
        str, option("The maximum age of the prices of live plans: 30d, 12h.")
    ] = "30d",
    anchors: AnchorsOption = None,
    org: OrgOption = None,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Check schema, key, chain, plans, live routes, orphans and the age of prices.

    Exits 1 if a check fails.
    """
    age = read_duration(price_age, "--price-age")
    card = open_store(store, key_file=key_file).health(
        public_key=key_hex,
        price_age=age,
        passes_through=read_anchors_option(anchors),
        org_id=org,
    )
    show_result(card, json)
    raise typer.Exit(card.result.exit_code)


@app.command(rich_help_panel=OPERATE)
def backup(
    output: Annotated[Path, argument("The file to write.")],
    store: StoreOption = DEFAULT_STORE,
    overwrite: OverwriteOption = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Back up a store, even while it is in use. The copy is consistent and verified."""
    show_result(open_store(store, key_file=key_file).backup(output, overwrite=overwrite), json)


@app.command(rich_help_panel=OPERATE)
def migrate(
    store: StoreOption = DEFAULT_STORE,
    roles: Annotated[
        bool, option("Create the roles analyst, operator, auditor and gateway as well.", "--roles")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Create a store in a PostgreSQL database, or update its schema, in one transaction."""
    from ttplan.workspace.open import migrate_store

    steps = migrate_store(store, roles=roles)
    text = f"done: {', '.join(steps)}" if steps else "the schema is current"
    if roles:
        text += (
            "\nthe roles ttplan_analyst, ttplan_operator, ttplan_auditor and ttplan_gateway "
            "are set up"
        )
    show_value({"steps": list(steps), "roles": roles}, text, json)


@app.command(rich_help_panel=OPERATE)
def copy(
    source: Annotated[str, argument("The store to copy: a file, or postgresql://…")],
    target: Annotated[str, argument("An empty store: a new file, or a database.")],
    key_hex: KeyHexOption = None,
    json: JsonOption = False,
) -> None:
    """Copy a store into an empty one: plans, routes, chain and requests, with the same hashes.

    The signing key is not copied.
    """
    from ttplan.workspace.open import copy_store

    report = copy_store(source, target, public_key=key_hex)
    anchor = "" if report.anchor is None else f", which ends at {report.anchor}"
    text = (
        f"organisation {report.org_id}: plans {report.plans}, live routes {report.routes}, "
        f"requests {report.requests:,}\n"
        f"entries of its chain {report.entries}{anchor}; {report.chain}"
    )
    show_value(report._asdict(), text, json)


@app.command(rich_help_panel=OPERATE)
def demo(
    store: Annotated[
        str | None,
        option("Keep the demo's store: a new file, or postgresql://…; default: do not keep it."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run the whole story on the sample log: import, plan, apply, verify, detect tampering."""
    from ttplan.cli.demo import run_demo

    run_demo(store, json)
