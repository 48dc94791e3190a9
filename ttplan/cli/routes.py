"""The commands on the live routes: make a plan live, look, take it back, and check that nobody else changed them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.commands import (
    DEFAULT_STORE,
    JsonOption,
    KeyOption,
    PlanArgument,
    StoreOption,
    app,
    moment,
    open_store,
    read_length,
    read_uuid,
)
from ttplan.cli.output import frame_json, show_frame, show_json
from ttplan.model.audit import Actor, Anonymous, ApiKey, AuditEntry, System, User
from ttplan.model.errors import InputError
from ttplan.model.policy import Override

YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
UserOption = Annotated[str | None, typer.Option(help="Who does it: a person's UUID.")]
ApiKeyOption = Annotated[str | None, typer.Option(help="Who does it: the UUID of an API key.")]
SystemOption = Annotated[bool, typer.Option("--system", help="The system itself does it.")]


@app.command()
def preview(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Show what applying a plan would change in the live routes: + new, ~ replaced, > renamed, - removed, = same."""
    shown = open_store(store).preview(plan_id)
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)


@app.command()
def apply(
    plan_id: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    yes: YesOption = False,
    allow_stale: Annotated[
        bool,
        typer.Option(
            "--allow-stale",
            help="Apply a plan that was computed against other live routes; the entry says so.",
        ),
    ] = False,
    override_by: Annotated[
        str | None,
        typer.Option(
            "--override-by",
            help="Your name, to apply a plan against the policy; the entry says so.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why you do; the entry says so, too.")
    ] = None,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Make a projected plan live: status, routes and signed audit entry in one transaction."""
    actor = read_actor(user, api_key, system)
    override = _override(override_by, reason)
    workspace = open_store(store, key_file=key_file)
    found = workspace.get(plan_id)
    if not yes:
        _ask(json, found, workspace.preview(found), "Apply this plan?")
    entry = workspace.apply(found, actor=actor, allow_stale=allow_stale, override=override)
    routes = len(found.result.proposed_routes)
    show_entry(
        entry,
        f"applied: {found.name}, {routes} {'route is' if routes == 1 else 'routes are'} live",
        json,
    )


@app.command()
def revert(
    plan_id: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    yes: YesOption = False,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Put back what an applied plan replaced: status, routes and signed audit entry in one transaction."""
    actor = read_actor(user, api_key, system)
    workspace = open_store(store, key_file=key_file)
    found = workspace.get(plan_id)
    shown = workspace.preview_revert(found)
    if dry_run:
        show_json(shown.result.model_dump(mode="json")) if json else print(shown)
        return
    if not yes:
        _ask(json, shown, "Revert this plan?")
    entry = workspace.revert(found, actor=actor)
    show_entry(entry, f"reverted: {found.name}", json)


@app.command()
def routes(
    store: StoreOption = DEFAULT_STORE,
    at: Annotated[
        str | None, typer.Option(help="As of this moment, such as 2026-05-01T00:00:00Z.")
    ] = None,
    yaml: Annotated[
        bool,
        typer.Option("--yaml", help="As a plan file, with their ids: to edit, and to plan with."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the routes that are live, or were at a moment, by precedence."""
    workspace, then = open_store(store), None if at is None else moment(at, "--at")
    if yaml:
        if json:
            raise InputError("--yaml and --json are two answers; say only one of them")
        print(workspace.routes_yaml(at=then), end="")
        return
    frame = workspace.routes(at=then)
    if json:
        show_json(frame_json(frame))
        return
    columns = ["name", "priority", "enabled", "target_model", "conditions"]
    title = "live routes" if at is None else f"routes live at {at}"
    show_frame(
        frame,
        title=title,
        columns=columns,
        empty="no routes are live" if at is None else f"no routes were live at {at}",
    )


@app.command()
def history(
    name: Annotated[str, typer.Argument(help="The route's name.", show_default=False)],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Show what became of a route: which plan put it live, replaced or renamed it, took it away."""
    frame = open_store(store).route_history(name)
    if json:
        show_json(frame_json(frame))
        return
    columns = ["since", "event", "plan", "name", "live", "target_model", "priority", "conditions"]
    if frame["renamed_to"].notna().any():
        columns.insert(5, "renamed_to")
    show_frame(frame, title=f"history of {name}", columns=columns, empty="no such route")


@app.command()
def drift(
    store: StoreOption = DEFAULT_STORE,
    key_hex: Annotated[
        str | None, typer.Option("--key-hex", help="The public key, from elsewhere: 64 hex digits.")
    ] = None,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Check that the live routes are what was signed for. Exits 1 where they are not."""
    shown = open_store(store, key_file=key_file).drift(public_key=key_hex)
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)
    raise typer.Exit(shown.result.exit_code)


@app.command()
def repair(
    store: StoreOption = DEFAULT_STORE,
    yes: YesOption = False,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Write back the live routes that were signed for, with an audit entry of its own."""
    actor = read_actor(user, api_key, system)
    workspace = open_store(store, key_file=key_file)
    if not yes:
        shown = workspace.drift()
        if json or shown.result.routes:
            _ask(json, shown, "Write back what was signed for?")
    entry = workspace.repair(actor=actor)
    if entry is not None:
        counts = ", ".join(
            f"{entry.payload[kind]} {kind}" for kind in ("edited", "missing", "foreign")
        )
        show_entry(entry, f"repaired: {counts}", json)
    elif json:
        show_json(None)
    else:
        print("nothing to repair: the live routes are what was signed for")


@app.command()
def backup(
    output: Annotated[Path, typer.Argument(help="Where to write the copy.", show_default=False)],
    store: StoreOption = DEFAULT_STORE,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file where there is one.")
    ] = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Copy a store, in use or not: consistent, whole or not at all, read back and verified."""
    shown = open_store(store, key_file=key_file).backup(output, overwrite=overwrite)
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)


@app.command()
def health(
    store: StoreOption = DEFAULT_STORE,
    key_hex: Annotated[
        str | None, typer.Option("--key-hex", help="The public key, from elsewhere: 64 hex digits.")
    ] = None,
    price_age: Annotated[
        str, typer.Option("--price-age", help="How old prices of live plans may be: 30d, 12h.")
    ] = "30d",
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Check schema, key, chain, plans, live routes, orphans and the age of prices. Exits 1 where something is not well."""
    age = read_length(price_age, "--price-age")
    shown = open_store(store, key_file=key_file).health(public_key=key_hex, price_age=age)
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)
    raise typer.Exit(shown.result.exit_code)


def _ask(json: bool, *shown_and_question: object) -> None:
    """Show what would be done, and go on only where the person says yes."""
    *shown, question = shown_and_question
    if json:
        raise InputError("--json asks nothing; say --yes to do it")
    for one in shown:
        print(one, end="\n\n")
    typer.confirm(str(question), abort=True)


def show_entry(entry: AuditEntry, done: str, json: bool) -> None:
    """Say what was done, and which entry says so."""
    if json:
        show_json(entry.model_dump(mode="json"))
        return
    print(done)
    print(f"entry {entry.seq} of the audit chain; its anchor is {entry.seq}:{entry.hash}")


def _override(name: str | None, reason: str | None) -> Override | None:
    if name is None and reason is None:
        return None
    if not (name or "").strip() or not (reason or "").strip():
        raise InputError("an override needs both --override-by, with your name, and --reason")
    return Override(name=str(name), reason=str(reason))


def read_actor(user: str | None, api_key: str | None, system: bool) -> Actor:
    """Who does it, of `--user`, `--api-key` and `--system` at most one."""
    if sum((user is not None, api_key is not None, system)) > 1:
        raise InputError("say --user, --api-key or --system, only one of them")
    if user is not None:
        return User(read_uuid(user, "--user"))
    if api_key is not None:
        return ApiKey(read_uuid(api_key, "--api-key"))
    return System() if system else Anonymous()
