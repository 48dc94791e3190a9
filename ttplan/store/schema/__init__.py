"""The schema as forward migrations, files `NNNN_name.sql` that are each applied once, in order.

Those of a DuckDB file are in this folder, others in sub-folders.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """One step of the schema."""

    version: int
    name: str
    sql: str


@cache
def migrations(folder: str = "") -> tuple[Migration, ...]:
    """All migrations of a DuckDB file, or those of a sub-folder, by version.

    Versions may have gaps.
    """
    package = files(__package__)
    directory = package.joinpath(folder) if folder else package
    steps = (file for file in directory.iterdir() if file.name[:4].isdigit())
    by_name = sorted(steps, key=lambda file: file.name)
    return tuple(Migration(int(file.name[:4]), file.name, file.read_text()) for file in by_name)
