"""Follow the live routes of a store in PostgreSQL, as a gateway does: load them, listen, and load
them again when they change.

python examples/follow_routes.py postgresql://gateway@host/database

Needs psycopg and nothing of ttplan. Prints the routes as one line of JSON whenever they are others
than before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

ROUTES = 'SELECT id, name, priority, enabled, "when", "then" FROM ttplan_gateway.routes ORDER BY priority DESC, id'
EVERY = 30.0
"""Seconds after which to look without being told: what was said while the connection was lost is
not said again.
"""


def routes_of(connection: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
    """The live routes, in the order in which they are tried."""
    return [row | {"id": str(row["id"])} for row in connection.execute(ROUTES)]


def follow(url: str) -> Iterator[list[dict[str, Any]]]:
    """The live routes now, and whenever they are others. Ends with psycopg.OperationalError where
    the server is lost.
    """
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(
            "LISTEN ttplan_routes"
        )  # before the first look: no change falls in between
        routes = routes_of(connection)
        yield routes
        while True:
            for _ in connection.notifies(timeout=EVERY, stop_after=1):
                pass
            current = routes_of(connection)
            if current != routes:
                routes = current
                yield routes


if __name__ == "__main__":
    for live in follow(sys.argv[1]):
        print(json.dumps(live), flush=True)
