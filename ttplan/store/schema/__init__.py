"""The schema as forward migrations: `NNNN_name.sql`, each applied once, in order. Those of a file are here, others in folders."""

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
    """All migrations, in the order of their versions, which may leave numbers out; of a DuckDB file, or those in a folder."""
    place = files(__package__)
    found = sorted(
        (
            file
            for file in (place.joinpath(folder) if folder else place).iterdir()
            if file.name[:4].isdigit()
        ),
        key=lambda file: file.name,
    )
    return tuple(Migration(int(file.name[:4]), file.name, file.read_text()) for file in found)
