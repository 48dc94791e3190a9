"""The commands between a plan and its apply: the policy, approvals, and taking over what a gateway follows already."""

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
    open_store,
)
from ttplan.cli.gateways import LossOption
from ttplan.cli.output import show_json
from ttplan.cli.routes import read_actor, show_entry
from ttplan.model.errors import InputError

UserOption = Annotated[str | None, typer.Option(help="Who does it: a person's UUID.")]


@app.command("set-policy")
def set_policy(
    policy: Annotated[
        Path | None, typer.Argument(help="The rules: a YAML file.", show_default=False)
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="Hold plans to nothing from now on.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = None,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Hold every plan of a store to rules from now on; the audit chain is told of it."""
    if (policy is None) is not none:
        raise InputError("say the file with the rules, or --none")
    entry = open_store(store, key_file=key_file).set_policy(
        policy, actor=read_actor(user, None, False)
    )
    show_entry(
        entry,
        "no policy from now on" if policy is None else f"plans are held to {policy} from now on",
        json,
    )


@app.command("check-policy")
def check_policy(
    plan_id: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Hold a plan to the store's policy, as applying it would. Exits 1 where a blocking rule stands against it."""
    shown = open_store(store).check_policy(plan_id)
    if json:
        show_json(None if shown.result is None else shown.result.model_dump(mode="json"))
    else:
        print(shown)
    raise typer.Exit(0 if shown.result is None else shown.result.exit_code)


@app.command()
def approve(
    plan_id: PlanArgument,
    user: Annotated[
        str, typer.Option(help="Who approves it: a person's UUID.", show_default=False)
    ],
    store: StoreOption = DEFAULT_STORE,
    own_key: Annotated[
        Path | None,
        typer.Option("--own-key", help="A key of the approver's own (PEM), which signs, too."),
    ] = None,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Approve a projected plan as it is now; a plan that changes needs a new approval."""
    from ttplan.audit.keys.key_files import load_key

    workspace = open_store(store, key_file=key_file)
    found = workspace.get(plan_id)
    key = None if own_key is None else load_key(own_key)
    entry = workspace.approve(found, actor=read_actor(user, None, False), key=key)
    show_entry(entry, f"approved: {found.name}", json)
    if not json:
        print(workspace.check_policy(found))  # whether it was enough


@app.command()
def adopt(
    file: Annotated[
        Path,
        typer.Argument(
            help="A LiteLLM config or TokenTrimmer routes: YAML or JSON.", show_default=False
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    gateway: Annotated[
        str | None,
        typer.Option("--from", help="tokentrimmer or litellm, where the file does not tell."),
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the plan.")] = "as the gateway has it",
    allow_loss: LossOption = False,
    json: JsonOption = False,
) -> None:
    """Keep the routes that a gateway follows already as a first plan; applying it changes nothing there."""
    plan = open_store(store, create=True).adopt(
        file,
        gateway,  # type: ignore[arg-type]  # the operation says which there are
        name=name,
        allow_loss=allow_loss,
    )
    routes = plan.result.proposed_routes
    if json:
        show_json(plan.run.model_dump(mode="json", exclude={"nonce"}))
        return
    print(
        f"plan {plan.plan_id}: {len(routes)} {'route' if len(routes) == 1 else 'routes'} that the gateway follows already"
    )
    print("nothing was replayed; make them ours with `ttplan apply`")
