"""Commands on the live routes and on the gateways that follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ttplan.cli.options import (
    APPLY,
    DEFAULT_STORE,
    IMPORT,
    OPERATE,
    AllowLossOption,
    JsonOption,
    OverwriteOption,
    StoreOption,
    app,
    argument,
    open_or_create_store,
    open_store,
    option,
    read_duration,
    read_time,
)
from ttplan.cli.output import (
    count,
    json_text,
    name_options,
    show_frame,
    show_result,
    show_text,
    show_value,
)
from ttplan.display.routes import ExportCard
from ttplan.model.errors import InputError, TtplanError
from ttplan.model.gateway import RouteExport

RoutesOutputArgument = Annotated[Path, argument("The file to write: .json or .yaml.")]
GatewayOption = Annotated[str, option("The gateway: tokentrimmer or litellm.", "--to")]
AllowDriftOption = Annotated[
    bool, option("Write the live routes although they are not the signed ones.", "--allow-drift")
]
ProviderOption = Annotated[
    list[str] | None,
    option(
        "The provider of a model, by LiteLLM's name: gpt-4o=azure; may be repeated.", "--provider"
    ),
]


@app.command(rich_help_panel=APPLY)
def routes(
    store: StoreOption = DEFAULT_STORE,
    at: Annotated[
        str | None, option("As of this time: 2026-05-01 or 2026-05-01T00:00:00Z.")
    ] = None,
    yaml: Annotated[
        bool, option("As a plan file with route ids, to edit and plan with.", "--yaml")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the routes that are live, or were at some time, by precedence."""
    if yaml and json:
        raise InputError("give only one of --yaml and --json")
    workspace, time = open_store(store), read_time(at, "--at")
    frame = workspace.routes(at=time)
    if yaml:
        show_text(workspace.routes(at=time).to_yaml(), end="")
        return
    show_frame(
        frame,
        json,
        title="live routes" if at is None else f"routes live at {at}",
        columns=["name", "priority", "enabled", "target_model", "conditions"],
        empty="no routes are live" if at is None else f"no routes were live at {at}",
    )


@app.command("route-history", rich_help_panel=APPLY)
def route_history(
    name: Annotated[str, argument("The route's name.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Show the history of a route: which plan made it live, replaced, renamed or removed it."""
    frame = open_store(store).route_history(name)
    columns = ["since", "event", "plan", "name", "live", "target_model", "priority", "conditions"]
    if frame["renamed_to"].notna().any():
        columns.insert(5, "renamed_to")
    show_frame(frame, json, title=f"history of {name}", columns=columns, empty="no such route")


@app.command("export-routes", rich_help_panel=OPERATE)
def export_routes(
    output: RoutesOutputArgument,
    to: GatewayOption = "tokentrimmer",
    store: StoreOption = DEFAULT_STORE,
    allow_loss: AllowLossOption = False,
    allow_drift: AllowDriftOption = False,
    provider: ProviderOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Write the live routes for a gateway.

    Exits 1 if the gateway cannot express them, or if they are not the signed ones.
    """
    card = open_store(store).export_routes(
        output,
        to,  # type: ignore[arg-type]  # the library checks the value
        allow_loss=allow_loss,
        allow_drift=allow_drift,
        overwrite=overwrite,
        providers=_read_providers(provider),
    )
    show_result(card, json)


@app.command("watch-routes", rich_help_panel=OPERATE)
def watch_routes(
    output: RoutesOutputArgument,
    to: GatewayOption = "tokentrimmer",
    store: StoreOption = DEFAULT_STORE,
    allow_loss: AllowLossOption = False,
    allow_drift: AllowDriftOption = False,
    provider: ProviderOption = None,
    every: Annotated[str, option("The time between checks: 2s, 1m.")] = "2s",
    once: Annotated[bool, option("Check once, and end.", "--once")] = False,
    json: JsonOption = False,
) -> None:
    """Write the live routes for a gateway whenever they change, until interrupted.

    With --json, each change is one JSON document on one line.
    """
    pause = read_duration(every, "--every").total_seconds()
    watcher = open_store(store).watch_routes(
        output,
        to,  # type: ignore[arg-type]  # the library checks the value
        allow_loss=allow_loss,
        allow_drift=allow_drift,
        providers=_read_providers(provider),
    )

    def show_export(export: RouteExport) -> None:
        if json:
            print(json_text(export.model_dump(mode="json")), flush=True)
        else:
            show_text(ExportCard(export), flush=True)

    def show_error(error: TtplanError) -> None:
        message = " ".join(name_options(str(error)).split())
        show_text(f"ttplan: {message}", error=True, flush=True)

    if not once:
        watcher.run(show_export, show_error, interval=pause)
    export = watcher.update()
    if export is not None:
        show_export(export)


@app.command(rich_help_panel=IMPORT)
def adopt(
    file: Annotated[Path, argument("A LiteLLM config or TokenTrimmer routes: YAML or JSON.")],
    store: StoreOption = DEFAULT_STORE,
    gateway: Annotated[
        str | None, option("tokentrimmer or litellm, if it cannot be detected.", "--from")
    ] = None,
    name: Annotated[str, option("The name of the plan.")] = "as the gateway has it",
    allow_loss: AllowLossOption = False,
    json: JsonOption = False,
) -> None:
    """Keep the routes that a gateway uses already as a first plan; applying it changes nothing."""
    with open_or_create_store(store) as workspace:
        plan = workspace.adopt(
            file,
            gateway,  # type: ignore[arg-type]  # the library checks the value
            name=name,
            allow_loss=allow_loss,
        )
    routes = count(len(plan.result.proposed_routes), "route")
    show_value(
        plan.run.model_dump(mode="json", exclude={"nonce"}),
        f"plan {plan.plan_id}: {routes} that the gateway uses already\n"
        "nothing was replayed; take them over with `ttplan apply`",
        json,
    )


def _read_providers(assignments: list[str] | None) -> dict[str, str]:
    """Parse the values of `--provider`."""
    providers = {}
    for assignment in assignments or []:
        model, equals, provider = assignment.rpartition("=")
        if not equals or not model or not provider:
            raise InputError(
                f"--provider is {assignment!r}; expected MODEL=PROVIDER, such as gpt-4o=azure"
            )
        providers[model] = provider
    return providers
