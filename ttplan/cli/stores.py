"""The commands on databases: make the schema of a store there, and move a store into another of whatever kind."""

from __future__ import annotations

from typing import Annotated

import typer

from ttplan.cli.commands import DEFAULT_STORE, JsonOption, StoreOption, app
from ttplan.cli.output import show_json


@app.command()
def migrate(
    store: StoreOption = DEFAULT_STORE,
    roles: Annotated[
        bool,
        typer.Option(
            "--roles",
            help="Also make the roles analyst, operator, auditor and gateway, and their rights.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a store in a PostgreSQL database, or bring its schema forward, in one transaction."""
    from ttplan.workspace.open import migrate_store

    steps = migrate_store(store, roles=roles)
    if json:
        show_json({"steps": list(steps), "roles": roles})
        return
    print(f"done: {', '.join(steps)}" if steps else "the schema is the current one")
    if roles:
        print(
            "the roles ttplan_analyst, ttplan_operator, ttplan_auditor and ttplan_gateway have their rights"
        )


@app.command()
def copy(
    source: Annotated[
        str, typer.Argument(help="The store to copy: a file, or postgresql://…", show_default=False)
    ],
    target: Annotated[
        str, typer.Argument(help="An empty store: a new file, or a database.", show_default=False)
    ],
    key_hex: Annotated[
        str | None, typer.Option("--key-hex", help="The chain's first public key, from elsewhere.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Copy a store into an empty one: plans, routes, chain and requests, with the same hashes. The signing key is not copied."""
    from ttplan.workspace.open import copy_store

    found = copy_store(source, target, public_key=key_hex)
    if json:
        show_json(found._asdict())
        return
    anchor = "" if found.anchor is None else f", which ends at {found.anchor}"
    print(
        f"organisation {found.org_id}: plans {found.plans}, live routes {found.routes}, requests {found.requests:,}"
    )
    print(f"entries of its chain {found.entries}{anchor}; {found.chain}")
