"""Commands on the policy that plans must meet before they are applied, and on approvals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.options import (
    APPLY,
    DEFAULT_STORE,
    JsonOption,
    KeyFileOption,
    PlanArgument,
    StoreOption,
    UserOption,
    app,
    argument,
    open_store,
    option,
    read_actor,
)
from ttplan.cli.output import show_entry, show_result
from ttplan.model.errors import InputError


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
        print(workspace.check_policy(plan))
