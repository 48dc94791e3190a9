"""The commands that look at costs: what a model's price is, and what a log's costs are worth."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.commands import (
    DEFAULT_STORE,
    JsonOption,
    PricesOption,
    StoreOption,
    app,
    moment,
    open_store,
)
from ttplan.cli.output import show_json
from ttplan.model.errors import InputError
from ttplan.util.paths import is_postgres_url

_DUCKDB = b"DUCK"


@app.command("prices")
def prices_(
    models: Annotated[
        list[str], typer.Argument(help="Models, or keys such as openai:gpt-4o.", show_default=False)
    ],
    provider: Annotated[
        str | None, typer.Option(help="Whose price; otherwise the one that a plan would take.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="The price of which moment, such as 2026-05-01T00:00:00Z; now, unless given."
        ),
    ] = None,
    prices: PricesOption = None,
    json: JsonOption = False,
) -> None:
    """Show what models cost and why: from your price file or the catalogue, by date, length of the prompt and service tier."""
    from ttplan.display.prices import price_text
    from ttplan.prices.book import PriceBook
    from ttplan.prices.lookup import look_up_price

    book, when = PriceBook(prices), datetime.now(UTC) if at is None else moment(at, "--at")
    answers = {model: look_up_price(model, book, at=when, provider=provider) for model in models}
    if json:
        show_json(
            [
                {"model": m, "price": None if a is None else a.model_dump(mode="json")}
                for m, a in answers.items()
            ]
        )
    else:
        print(
            "\n\n".join(
                f"{m}: no price is known" if a is None else price_text(a)
                for m, a in answers.items()
            )
        )
    if None in answers.values():
        raise typer.Exit(1)


@app.command()
def check(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="A store, or log files; otherwise --store.", show_default=False),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[
        str | None, typer.Option(help="The files' format, where it cannot be seen.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="How to read the files: a YAML mapping.")
    ] = None,
    prices: PricesOption = None,
    totals: Annotated[
        list[Path] | None,
        typer.Option(
            "--totals",
            help="A provider's export of usage or costs by day, to compare; may be repeated.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check what a log's costs are worth. Exits 0 where nothing would make a plan wrong, else 1."""
    from ttplan.display.diagnosis import DiagnosisCard
    from ttplan.operations.logs.check_logs import check_files

    given = sources or [store]
    if _is_store(given[0]) or not sources:
        if len(given) > 1:
            raise InputError(f"{given[0]} is a store; check one store, or log files, at a time")
        found = open_store(given[0]).check_logs(prices=prices, totals=totals or ())
    else:
        now = datetime.now(UTC)
        found = DiagnosisCard(
            check_files(
                given, format=format, mapping=mapping, prices=prices, totals=totals or (), at=now
            )
        )
    if json:
        show_json(found.result.model_dump(mode="json"))
    else:
        print(found)
    raise typer.Exit(0 if found.healthy else 1)


def _is_store(path: str) -> bool:
    """Whether it is a database: on a server, or a DuckDB file, by its first bytes."""
    if is_postgres_url(path):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(12)[8:] == _DUCKDB
    except OSError:
        return False
