"""The store of a folder: a file in it, or the database whose URL is in a file; with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import psycopg

import ttplan
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.postgres.store import PostgresStore
from ttplan.store.protocol import Store
from ttplan.workspace import Workspace

STORE = "s.duckdb"
KEY_FILE = f"{STORE}.key.pem"
URL = "url"
"""The name of the file with the URL of a database."""
_EDIT = "UPDATE {} SET priority = 77"


def place_of(folder: Path) -> str:
    """The store of a folder, as the argument of `ttplan.open`."""
    named = folder / URL
    return named.read_text() if named.exists() else str(folder / STORE)


def is_there(folder: Path) -> bool:
    """Whether a folder has a store."""
    return (folder / URL).exists() or (folder / STORE).exists()


def store_in(folder: Path, *, lock_timeout: float = 60) -> Store:
    """The store of a folder; it is not created."""
    if (folder / URL).exists():
        return PostgresStore(place_of(folder), lock_timeout=lock_timeout)
    return DuckDBStore(folder / STORE, create=False, lock_timeout=lock_timeout)


def open_in(folder: Path, **options: Any) -> Workspace:
    """The workspace of a folder."""
    return ttplan.open(place_of(folder), key_file=folder / KEY_FILE, **options)


def edit_routes(folder: Path) -> None:
    """Change the live routes without ttplan."""
    if (folder / URL).exists():
        store = PostgresStore(place_of(folder))
        with psycopg.connect(place_of(folder).partition("&org=")[0], autocommit=True) as server:
            server.execute(
                _EDIT.format("ttplan.routes").encode() + b" WHERE org_id = %s", [store.org_id]
            )
        return
    with duckdb.connect(str(folder / STORE)) as file:
        file.execute(_EDIT.format("routes"))
