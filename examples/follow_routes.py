"""Follow the live routes of a store in PostgreSQL, as a gateway does.

    python examples/follow_routes.py postgresql://gateway@host/database

Loads the routes, listens, and loads them again when they change. Needs psycopg, but not ttplan.
Prints the routes as one line of JSON at the start and after each change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

ROUTES = """
    SELECT id, name, priority, enabled, "when", "then", sticky
    FROM ttplan_gateway.routes ORDER BY priority DESC, id
"""
POLL_SECONDS = 30.0
"""Load the routes this often without a notification, because a notification can be lost."""


def load_routes(connection: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the live routes, in the order in which they are tried."""
    return [row | {"id": str(row["id"])} for row in connection.execute(ROUTES)]


def follow(url: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the live routes now and after each change.

    Raises psycopg.OperationalError if the connection to the server is lost.
    """
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        # Listen before loading, so that no change is missed in between.
        connection.execute("LISTEN ttplan_routes")
        routes = load_routes(connection)
        yield routes
        while True:
            for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass
            current = load_routes(connection)
            if current != routes:
                routes = current
                yield routes


if __name__ == "__main__":
    for live in follow(sys.argv[1]):
        print(json.dumps(live), flush=True)
