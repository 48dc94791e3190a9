"""The command that looks at a log of an unknown format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.commands import JsonOption, app
from ttplan.cli.output import show_json


@app.command("inspect")
def inspect_(
    file: Annotated[
        str,
        typer.Argument(
            help="A log: a file, or a folder or glob, of which the first file is taken."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the drafted mapping there, as YAML.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Look at a log's keys, and draft the mapping that reads it. Shows kinds, counts and ranges, never a text of the log."""
    from ttplan.logs.mapping.inspect import inspect_file, write_mapping

    found = inspect_file(file)
    if output is not None:
        write_mapping(found, output)
    if json:
        show_json(found._asdict())
        return
    print(found)
    if output is not None:
        print(f"\nwritten to {output}: check it, then import with")
        print(f"ttplan import {file} --mapping {output}")
