"""Commands that make plans live and take them back, and the policy that they must meet first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.options import (
    APPLY,
    DEFAULT_STORE,
    AnchorsOption,
    ApiKeyOption,
    JsonOption,
    KeyFileOption,
    KeyHexOption,
    OrgOption,
    PlanArgument,
    StoreOption,
    SystemOption,
    UserOption,
    YesOption,
    app,
    argument,
    open_store,
    option,
    read_actor,
    read_anchors_option,
    read_time,
)
from ttplan.cli.output import confirm, count, show_entry, show_result, show_text, show_value
from ttplan.model.errors import InputError
from ttplan.model.policy import Override


@app.command("set-policy", rich_help_panel=APPLY)
def set_policy(
    policy: Annotated[Path | None, argument("The rules: a YAML file.")] = None,
    none: Annotated[bool, option("Remove the policy.", "--none")] = False,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Set the policy that every plan of the store must meet; the audit chain records it."""
    if (policy is None) is not none:
        raise InputError("give either the file with the rules, or --none")
    workspace = open_store(store, key_file=key_file)
    entry = workspace.set_policy(policy, actor=read_actor(user))
    show_entry(entry, "policy removed" if policy is None else f"policy set: {policy}", json)


@app.command("check-policy", rich_help_panel=APPLY)
def check_policy(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Check a plan against the store's policy, as applying it would.

    Exits 1 if the plan does not meet a blocking rule.
    """
    card = open_store(store).check_policy(plan_id)
    show_result(card, json)
    raise typer.Exit(0 if card.result is None else card.result.exit_code)


@app.command(rich_help_panel=APPLY)
def approve(
    plan_id: PlanArgument,
    user: Annotated[
        str,
        option("The person who approves: an e-mail address, a name or a UUID.", show_default=False),
    ],
    store: StoreOption = DEFAULT_STORE,
    own_key: Annotated[
        Path | None, option("The approver's own key (PEM), to sign the approval as well.")
    ] = None,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Approve a projected plan in its current state; a changed plan needs a new approval."""
    from ttplan.audit.keys.key_files import load_key

    workspace = open_store(store, key_file=key_file)
    plan = workspace.show(plan_id)
    approver_key = None if own_key is None else load_key(own_key)
    entry = workspace.approve(plan, actor=read_actor(user), key=approver_key)
    show_entry(entry, f"approved: {plan.name}", json)
    if not json:
        show_text(workspace.check_policy(plan))


@app.command(rich_help_panel=APPLY)
def preview(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Show how a plan would change the live routes.

    The signs: + new, ~ replaced, > renamed, - removed, = same.
    """
    show_result(open_store(store).preview(plan_id), json)


@app.command(rich_help_panel=APPLY)
def apply(
    plan_id: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    yes: YesOption = False,
    allow_stale: Annotated[
        bool,
        option(
            "Apply a plan that was computed with other live routes; the entry records that.",
            "--allow-stale",
        ),
    ] = False,
    override_by: Annotated[
        str | None, option("Your name, to override the policy; the entry records it.")
    ] = None,
    reason: Annotated[
        str | None, option("Why you override the policy; the entry records it.")
    ] = None,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Make a projected plan live: status, routes and signed audit entry in one transaction."""
    actor = read_actor(user, api_key, system)
    override = _read_override(override_by, reason)
    workspace = open_store(store, key_file=key_file)
    plan = workspace.show(plan_id)
    if not yes:
        confirm("Apply this plan?", plan, workspace.preview(plan), json=json)
    entry = workspace.apply(plan, actor=actor, allow_stale=allow_stale, override=override)
    routes = count(len(plan.result.proposed_routes), "route is", "routes are")
    show_entry(entry, f"applied: {plan.name}, {routes} live", json)


@app.command(rich_help_panel=APPLY)
def revert(
    plan_id: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, option("Only show what would change.", "--dry-run")] = False,
    yes: YesOption = False,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Restore what an applied plan replaced: status, routes and signed audit entry, atomically."""
    actor = read_actor(user, api_key, system)
    workspace = open_store(store, key_file=key_file)
    plan = workspace.show(plan_id)
    card = workspace.preview_revert(plan)
    if dry_run:
        show_result(card, json)
        return
    if not yes:
        confirm("Revert this plan?", card, json=json)
    show_entry(workspace.revert(plan, actor=actor), f"reverted: {plan.name}", json)


@app.command(rich_help_panel=APPLY)
def drift(
    store: StoreOption = DEFAULT_STORE,
    key_hex: KeyHexOption = None,
    anchors: AnchorsOption = None,
    org: OrgOption = None,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Check that the live routes are the signed ones. Exits 1 if they are not."""
    card = open_store(store, key_file=key_file).drift(
        public_key=key_hex, passes_through=read_anchors_option(anchors), org_id=org
    )
    show_result(card, json)
    raise typer.Exit(card.result.exit_code)


@app.command(rich_help_panel=APPLY)
def repair(
    store: StoreOption = DEFAULT_STORE,
    yes: YesOption = False,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Restore the live routes to the signed ones, with an audit entry."""
    actor = read_actor(user, api_key, system)
    workspace = open_store(store, key_file=key_file)
    if not yes:
        card = workspace.drift()
        if json or card.result.routes:
            confirm("Restore the signed routes?", card, json=json)
    entry = workspace.repair(actor=actor)
    if entry is not None:
        counts = (f"{entry.payload[kind]} {kind}" for kind in ("edited", "missing", "foreign"))
        show_entry(entry, f"repaired: {', '.join(counts)}", json)
    else:
        show_value(None, "nothing to repair: the live routes are the signed ones", json)


@app.command(rich_help_panel=APPLY)
def reconcile(
    plan_id: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    until: Annotated[
        str | None,
        option("Only count requests before this time: 2026-05-01 or 2026-05-01T00:00:00Z."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare an applied plan with what was logged while its routes were live; keep the result."""
    show_result(open_store(store).reconcile(plan_id, until=read_time(until, "--until")), json)


@app.command("track-record", rich_help_panel=APPLY)
def track_record(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Show how past plans did: interval coverage, median error and bias."""
    show_result(open_store(store).track_record(), json)


def _read_override(name: str | None, reason: str | None) -> Override | None:
    """Return the override of the policy, from `--override-by` and `--reason`: both or neither."""
    if name is None and reason is None:
        return None
    if not (name or "").strip() or not (reason or "").strip():
        raise InputError("an override needs both --override-by, with your name, and --reason")
    return Override(name=str(name), reason=str(reason))
