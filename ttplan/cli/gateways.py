"""The commands between the live routes and the gateways that follow them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.commands import DEFAULT_STORE, JsonOption, StoreOption, app, open_store, read_length
from ttplan.cli.output import show_json, show_json_line
from ttplan.display.routes import ExportCard
from ttplan.model.errors import InputError, TtplanError
from ttplan.model.gateway import RouteExport

OutputArgument = Annotated[
    Path, typer.Argument(help="Where to write the routes: .json or .yaml.", show_default=False)
]
ToOption = Annotated[str, typer.Option("--to", help="The gateway: tokentrimmer or litellm.")]
LossOption = Annotated[
    bool,
    typer.Option(
        "--allow-loss",
        help="Write it although the gateway has no words for something; it is listed.",
    ),
]
DriftOption = Annotated[
    bool,
    typer.Option(
        "--allow-drift",
        help="Write what is live although it is not what was signed for; that is said.",
    ),
]
ProviderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--provider", help="Who serves a model, as LiteLLM calls it: gpt-4o=azure. May be repeated."
    ),
]


@app.command("export-routes")
def export_routes(
    output: OutputArgument,
    to: ToOption = "tokentrimmer",
    store: StoreOption = DEFAULT_STORE,
    allow_loss: LossOption = False,
    allow_drift: DriftOption = False,
    provider: ProviderOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file where there is one.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write the live routes for a gateway. Exits 1 where it has no words for something, or they were not signed for."""
    shown = open_store(store).export_routes(
        output,
        to,  # type: ignore[arg-type]  # the export says which there are
        allow_loss=allow_loss,
        allow_drift=allow_drift,
        overwrite=overwrite,
        providers=_providers(provider),
    )
    if json:
        show_json(shown.result.model_dump(mode="json"))
    else:
        print(shown)


@app.command()
def watch(
    output: OutputArgument,
    to: ToOption = "tokentrimmer",
    store: StoreOption = DEFAULT_STORE,
    allow_loss: LossOption = False,
    allow_drift: DriftOption = False,
    provider: ProviderOption = None,
    every: Annotated[str, typer.Option(help="How long to wait between looks: 2s, 1m.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    json: JsonOption = False,
) -> None:
    """Write the live routes for a gateway whenever they change, until an interrupt. With --json, a document a line."""
    pause = read_length(every, "--every").total_seconds()
    watcher = open_store(store).watch_routes(
        output,
        to,  # type: ignore[arg-type]
        allow_loss=allow_loss,
        allow_drift=allow_drift,
        providers=_providers(provider),
    )

    def tell(found: RouteExport) -> None:
        show_json_line(found.model_dump(mode="json")) if json else print(
            ExportCard(found), flush=True
        )

    def complain(error: TtplanError) -> None:
        print(f"ttplan: {' '.join(str(error).split())}", file=sys.stderr, flush=True)

    if not once:
        watcher.run(tell, complain, every=pause)
    found = watcher.look()
    if found is not None:
        tell(found)


def _providers(given: list[str] | None) -> dict[str, str]:
    found = {}
    for one in given or []:
        model, equals, provider = one.rpartition("=")
        if not equals or not model or not provider:
            raise InputError(
                f"--provider is {one!r}; expected MODEL=PROVIDER, such as gpt-4o=azure"
            )
        found[model] = provider
    return found
