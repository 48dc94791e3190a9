"""Commands that read logs: import them, check their costs, draft a mapping, and look up prices."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.options import (
    DEFAULT_STORE,
    IMPORT,
    JsonOption,
    PricesOption,
    StoreOption,
    app,
    argument,
    open_or_create_store,
    open_store,
    option,
    read_time,
)
from ttplan.cli.output import show_json, show_result, show_text, show_value
from ttplan.model.errors import InputError
from ttplan.util.files import first_bytes
from ttplan.util.paths import is_postgres_url

_DUCKDB_MAGIC = b"DUCK"

FormatOption = Annotated[
    str | None, option("The log's format or file type, if it cannot be detected.")
]
MappingOption = Annotated[
    Path | None, option("How to read any other format: a YAML file, as `ttplan inspect` drafts it.")
]


@app.command("import", rich_help_panel=IMPORT)
def import_logs(
    files: Annotated[
        list[str], argument("Files, folders, globs, or a database (DuckDB or postgresql://…).")
    ],
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = None,
    mapping: MappingOption = None,
    table: Annotated[str | None, option("The table of a database.")] = None,
    skip_bad_rows: Annotated[
        bool, option("Skip and report rows that cannot be used.", "--skip-bad-rows")
    ] = False,
    cost: Annotated[
        str,
        option("The baseline: recorded costs, recomputed ones, or doctor (recomputed if wrong)."),
    ] = "recorded",
    prices: PricesOption = None,
    with_bodies: Annotated[bool, option("Also keep prompts and answers.", "--with-bodies")] = False,
    with_embeddings: Annotated[bool, option("Also keep embeddings.", "--with-embeddings")] = False,
    hashes: Annotated[bool, option("Keep hashes of prompts and answers.")] = True,
    check: Annotated[bool, option("Report the findings of the cost check.")] = True,
    org: Annotated[
        str | None, option("The organisation of the store (UUID), if the log has several.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add logged requests to the store, which is created if it does not exist.

    Each file is added whole or not at all.
    """
    reports = []
    with open_or_create_store(store, org_id=org) as workspace:
        for file in files:
            report = workspace.import_logs(
                file,
                format=format,
                mapping=mapping,
                table=table,
                on_bad_rows="skip" if skip_bad_rows else "refuse",
                cost=cost,  # type: ignore[arg-type]  # the library checks the value
                prices=prices,
                with_bodies=with_bodies,
                with_embeddings=with_embeddings,
                with_hashes=hashes,
                check=check,
            )
            reports.append(report)
            if not json:
                show_text(report)
    if json:
        show_json([report.model_dump(mode="json") for report in reports])


@app.command("check-logs", rich_help_panel=IMPORT)
def check_logs(
    sources: Annotated[
        list[str] | None, argument("A store, or log files; default: --store.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = None,
    mapping: MappingOption = None,
    prices: PricesOption = None,
    totals: Annotated[
        list[Path] | None,
        option("A provider's daily usage or cost export to compare with; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check whether a log's costs can be trusted.

    Exits 1 if something would make a plan wrong.
    """
    from ttplan.display.logs import DiagnosisCard
    from ttplan.operations.logs.check_logs import check_files

    paths = sources or [store]
    if _is_store(paths[0]) or not sources:
        if len(paths) > 1:
            raise InputError(f"{paths[0]} is a store; check one store, or log files, at a time")
        card = open_store(paths[0]).check_logs(prices=prices, totals=totals or ())
    else:
        diagnosis = check_files(
            paths,
            format=format,
            mapping=mapping,
            prices=prices,
            totals=totals or (),
            at=datetime.now(UTC),
        )
        card = DiagnosisCard(diagnosis)
    show_result(card, json)
    raise typer.Exit(0 if card.healthy else 1)


def _is_store(path: str) -> bool:
    """Return whether a path is a database: on a server, or a DuckDB file by its first bytes."""
    if is_postgres_url(path):
        return True
    return first_bytes(path, 12)[8:] == _DUCKDB_MAGIC


@app.command(rich_help_panel=IMPORT)
def inspect(
    file: Annotated[str, argument("A log file; the first file of a folder or a glob.")],
    output: Annotated[Path | None, option("Write the drafted mapping there, as YAML.")] = None,
    json: JsonOption = False,
) -> None:
    """Draft the mapping for a log of an unknown format, and try it on the first rows.

    Shows kinds, counts and ranges of its keys. Of its texts it shows only words that say what kind
    of row it is. Exits 1 if the mapping does not work.
    """
    from ttplan.logs.mapping.inspect import inspect_file, write_mapping

    inspection = inspect_file(file)
    if output is not None:
        write_mapping(inspection, output)
    show_value(inspection._asdict(), inspection, json)
    if output is not None and not json:
        show_text(f"\nwritten to {output}: check it, then import with")
        show_text(f"ttplan import {file} --mapping {output}")
    if not inspection.works:
        raise typer.Exit(1)


@app.command(rich_help_panel=IMPORT)
def prices(
    models: Annotated[list[str], argument("Models, or keys such as openai:gpt-4o.")],
    provider: Annotated[
        str | None, option("The provider; default: the one that a plan would use.")
    ] = None,
    at: Annotated[
        str | None, option("The time: 2026-05-01 or 2026-05-01T00:00:00Z; default: now.")
    ] = None,
    prices: PricesOption = None,
    json: JsonOption = False,
) -> None:
    """Show what models cost and why: by date, prompt length and service tier.

    Exits 1 if a model has no price.
    """
    from ttplan.display.prices import price_text
    from ttplan.prices.book import PriceBook
    from ttplan.prices.lookup import look_up_price

    book, when = PriceBook(prices), read_time(at, "--at") or datetime.now(UTC)
    answers = {model: look_up_price(model, book, at=when, provider=provider) for model in models}
    fields = [
        {"model": model, "price": price and price.model_dump(mode="json")}
        for model, price in answers.items()
    ]
    texts = [
        f"{model}: no price is known" if price is None else price_text(price)
        for model, price in answers.items()
    ]
    show_value(fields, "\n\n".join(texts), json)
    if None in answers.values():
        raise typer.Exit(1)
