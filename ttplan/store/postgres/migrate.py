"""The schema of a PostgreSQL store: brought forward when somebody asks for it, and looked at when a store is opened.

Opening one never changes the schema, as it does with a file: those who plan and apply every day have no right to make tables, and
a database that many use changes when its owner says so.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import psycopg

from ttplan.model.errors import StoreError
from ttplan.store.postgres.connection import Address, Connection, explained
from ttplan.store.schema import Migration, migrations

_LOCK = "ttplan.migrate"
_FIRST = (
    "CREATE SCHEMA ttplan; "
    "CREATE TABLE ttplan.schema_version (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL)"
)
_KEPT = "30 days"
"""How long a row of `commits` is of use: to whoever lost the connection in that moment."""


class Migrated(NamedTuple):
    """What `migrate` did: the names of the steps that were missing, and whether the roles were made."""

    steps: tuple[str, ...]
    roles: bool


def migrate(url: str, *, roles: bool = False, lock_timeout: float = 30.0) -> Migrated:
    """Bring the schema of a database to the current one, in one transaction; with `roles` also the roles and their rights.

    Nothing is done where nothing is missing. Two that do it at once take turns. Raises InputError for a URL that is none, and
    StoreError where it cannot be done, after which the database is as it was.
    """
    address = Address(url)
    try:
        with address.connect(lock_timeout) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [_LOCK])
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise StoreError(
                    f"{address.shown} has the encoding {encoding}; expected a database with UTF8"
                )
            if _has_schema(connection):
                missing = _missing(connection, address.shown)
            else:
                missing = list(migrations("postgres"))
                connection.execute(_FIRST)
            for migration in missing:
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO ttplan.schema_version VALUES (%s, %s, now())",
                    [migration.version, migration.name],
                )
            connection.execute(
                "DELETE FROM ttplan.commits WHERE at < now() - %s::interval", [_KEPT]
            )
            if roles:
                connection.execute(roles_sql().encode())
    except psycopg.Error as error:
        raise explained(address.shown, error) from error
    return Migrated(tuple(migration.name for migration in missing), roles)


def roles_sql() -> str:
    """The SQL that makes the roles and says what each may do. It can be run again."""
    return files("ttplan.store.schema").joinpath("postgres", "roles.sql").read_text()


def check_schema(connection: Connection, shown: str) -> None:
    """Raise StoreError where the schema is not the current one, or somebody else's."""
    if not _has_schema(connection):
        raise StoreError(
            f"{shown} holds no store yet; its owner makes one with `ttplan migrate --store URL`"
        )
    missing = _missing(connection, shown)
    if missing:
        raise StoreError(
            f"{shown} has an older schema, without {missing[0].name}; its owner brings it forward with "
            "`ttplan migrate --store URL`"
        )


def _has_schema(connection: Connection) -> bool:
    return (
        connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'ttplan'").fetchone()
        is not None
    )


def _missing(connection: Connection, shown: str) -> list[Migration]:
    """The steps that the schema has not had. StoreError where it is somebody else's, or a newer ttplan's."""
    ours = {migration.version: migration for migration in migrations("postgres")}
    found: dict[int, str] = {}
    if connection.execute("SELECT to_regclass('ttplan.schema_version')").fetchone() != (None,):
        found = dict(
            connection.execute("SELECT version, name FROM ttplan.schema_version").fetchall()
        )
    if min(ours) not in found or any(
        version in ours and ours[version].name != name for version, name in found.items()
    ):
        raise StoreError(
            f"{shown} has a schema ttplan that ttplan did not make. It was left as it is"
        )
    if not found.keys() <= ours.keys():
        newest = max(found.keys() - ours.keys())
        raise StoreError(
            f"{shown} has schema version {newest}, newer than this ttplan's {max(ours)}; use a newer ttplan"
        )
    return [migration for version, migration in ours.items() if version not in found]
