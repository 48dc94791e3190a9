"""The schema of a PostgreSQL store: migrated on request, and checked when a store is opened.

Unlike a DuckDB file, opening a store never migrates it: daily users have no right to create tables,
and the schema of a shared database changes when its owner decides.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import psycopg

from ttplan.model.errors import StoreError
from ttplan.store.postgres.connection import Address, Connection, translate_error
from ttplan.store.schema import Migration, migrations

_LOCK = "ttplan.migrate"
_CREATE_SCHEMA = (
    "CREATE SCHEMA ttplan; "
    "CREATE TABLE ttplan.schema_version (version integer PRIMARY KEY, name text NOT NULL, "
    "applied_at timestamptz NOT NULL)"
)
_COMMITS_KEPT = "30 days"
"""How long rows of `commits` are kept, for writers that lost the connection during a commit."""


class Migrated(NamedTuple):
    """What `migrate` did: the migrations that it applied, and whether it created the roles."""

    steps: tuple[str, ...]
    roles: bool


def migrate(url: str, *, roles: bool = False, lock_timeout: float = 30.0) -> Migrated:
    """Migrate a database to the current schema in one transaction; with `roles`, also create the
    roles and their rights.

    A current schema is left unchanged. Concurrent calls run one after the other. Raises InputError
    if the URL cannot be read, and StoreError if the migration fails; then the database is
    unchanged.
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
                connection.execute(_CREATE_SCHEMA)
            for migration in missing:
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO ttplan.schema_version VALUES (%s, %s, now())",
                    [migration.version, migration.name],
                )
            connection.execute(
                "DELETE FROM ttplan.commits WHERE at < now() - %s::interval", [_COMMITS_KEPT]
            )
            if roles:
                connection.execute(roles_sql().encode())
    except psycopg.Error as error:
        raise translate_error(address.shown, error) from error
    return Migrated(tuple(migration.name for migration in missing), roles)


def roles_sql() -> str:
    """The SQL that creates the roles and grants their rights. It can be run repeatedly."""
    return files("ttplan.store.schema").joinpath("postgres", "roles.sql").read_text()


def check_schema(connection: Connection, shown: str) -> None:
    """Raise StoreError if the schema is not the current one, or belongs to another program."""
    if not _has_schema(connection):
        raise StoreError(f"{shown} has no store yet; its owner creates one with `ttplan migrate`")
    missing = _missing(connection, shown)
    if missing:
        raise StoreError(
            f"{shown} has an older schema, without {missing[0].name}; its owner migrates it with "
            "`ttplan migrate`"
        )


def _has_schema(connection: Connection) -> bool:
    return (
        connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'ttplan'").fetchone()
        is not None
    )


def _missing(connection: Connection, shown: str) -> list[Migration]:
    """The migrations that the schema lacks.

    StoreError if another program, or a newer ttplan, made it.
    """
    known = {migration.version: migration for migration in migrations("postgres")}
    applied: dict[int, str] = {}
    if connection.execute("SELECT to_regclass('ttplan.schema_version')").fetchone() != (None,):
        applied = dict(
            connection.execute("SELECT version, name FROM ttplan.schema_version").fetchall()
        )
    if min(known) not in applied or any(
        version in known and known[version].name != name for version, name in applied.items()
    ):
        raise StoreError(
            f"{shown} has a schema `ttplan` that another program created. It was left as it is"
        )
    if not applied.keys() <= known.keys():
        newest = max(applied.keys() - known.keys())
        raise StoreError(
            f"{shown} has schema version {newest}, newer than this ttplan's {max(known)}; use a "
            "newer ttplan"
        )
    return [migration for version, migration in known.items() if version not in applied]
