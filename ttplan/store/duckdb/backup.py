"""A copy of a store that others may be using: consistent, whole or not at all, and read back before it gets its name."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

import duckdb

from ttplan.model.errors import InputError, StoreError
from ttplan.store.duckdb.copying import (
    OFFLINE_CONFIG,
    TableSum,
    copy_permissions,
    read_table_sums,
    sql_path,
    sync,
    table_sums,
)
from ttplan.store.duckdb.files import exclusive_access
from ttplan.store.duckdb.locking import connect_when_free


def copy_store(
    path: Path, target: Path, *, lock_timeout: float, overwrite: bool = False
) -> dict[str, TableSum]:
    """Copy the store at `path` to `target`, and return what each table holds, as read back from the copy.

    While it copies, others can read and none can write. Raises InputError where there is such a file already, unless `overwrite`,
    StoreLocked, and StoreError where it cannot be copied or does not read back the same; there is no copy then.
    """
    if os.path.exists(target) and os.path.samefile(path, target):
        raise InputError(f"{target} is the store itself; choose another path for the copy")
    if os.path.lexists(target) and not overwrite:
        raise InputError(f"{target} exists already; choose another path, or say to overwrite it")
    if os.path.lexists(
        f"{target}.wal"
    ):  # DuckDB would take it for the copy's own, and write it into the copy
        raise InputError(
            f"{target}.wal exists: a store there is in use, or was not closed; choose another path for the copy"
        )
    draft = target.absolute().with_name(f".{target.name}.{secrets.token_hex(6)}.new")
    try:
        with exclusive_access(path, lock_timeout):
            expected = _copy(path, draft, lock_timeout)
        found = read_table_sums(draft)
        if found != expected:
            odd = sorted(
                name
                for name in expected.keys() | found.keys()
                if expected.get(name) != found.get(name)
            )
            raise StoreError(
                f"the copy of {path} does not read back the same in {', '.join(odd)}; it was thrown away"
            )
        copy_permissions(draft, path)
        sync(draft)
        draft.replace(target) if overwrite else os.link(draft, target)
        sync(target.absolute().parent)
    except FileExistsError:
        raise InputError(
            f"{target} exists already; choose another path, or say to overwrite it"
        ) from None
    except (OSError, duckdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise StoreError(f"{path} could not be copied to {target}: {reason}") from error
    finally:
        for leftover in (draft, draft.with_name(draft.name + ".wal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
    return found


def _copy(path: Path, draft: Path, lock_timeout: float) -> dict[str, TableSum]:
    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config=OFFLINE_CONFIG)
        try:
            connection.execute(f"ATTACH {sql_path(path)} AS source (READ_ONLY)")
        except duckdb.Error:
            connection.close()
            raise
        return connection

    connection = connect_when_free(path, lock_timeout, connect)
    try:
        connection.execute(f"ATTACH {sql_path(draft)} AS target")
        connection.execute("COPY FROM DATABASE source TO target")
        connection.execute(
            "CHECKPOINT target"
        )  # closing does it, too, but does not say where it cannot
        return table_sums(connection, "source")
    finally:
        connection.close()
