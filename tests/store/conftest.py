"""All stores, for the contract suite. A new store is one more line of STORES."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.postgres import database
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.postgres.store import PostgresStore
from ttplan.store.protocol import Store


@cache
def _empty_file() -> bytes:
    """The file of an empty store: to create one takes longer than most tests of the contract."""
    with TemporaryDirectory() as folder:
        store = DuckDBStore(Path(folder) / "store.duckdb")
        return store.path.read_bytes()


def new_duckdb_store(folder: Path) -> DuckDBStore:
    """A new store in a folder; the tests of `DuckDBStore` create theirs themselves."""
    path = folder / "store.duckdb"
    path.write_bytes(_empty_file())
    return DuckDBStore(path)


STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "duckdb": new_duckdb_store,
    "postgres": lambda folder: PostgresStore(database(folder)),
}

STORE_PARAMETERS = [
    pytest.param(name, marks=[pytest.mark.postgres] if name == "postgres" else [])
    for name in sorted(STORES)
]
"""For tests of code above the stores; of PostgreSQL a plain run tests only the contract."""


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A new, empty store."""
    return STORES[request.param](tmp_path)
