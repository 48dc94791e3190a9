"""The schema as forward migrations: `NNNN_name.sql`, each applied once, in order."""

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
def migrations() -> tuple[Migration, ...]:
    """All migrations, in the order of their versions, which may leave numbers out."""
    found = sorted(
        (file for file in files(__package__).iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return tuple(Migration(int(file.name[:4]), file.name, file.read_text()) for file in found)
