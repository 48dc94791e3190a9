"""All stores, for the contract suite. A new store is one more line of STORES."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.postgres import database
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.postgres.store import PostgresStore
from ttplan.store.protocol import Store

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "duckdb": lambda folder: DuckDBStore(folder / "store.duckdb"),
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
