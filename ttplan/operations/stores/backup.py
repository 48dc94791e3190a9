"""A copy of a store that is in use, read back and verified."""

from __future__ import annotations

from pathlib import Path

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.errors import InputError
from ttplan.model.results.health import Backup
from ttplan.operations.routes.drift import find_drift
from ttplan.store.duckdb.backup import copy_store
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.protocol import Store


def back_up(
    store: Store,
    target: Path,
    key: VerifyingKey | None,
    *,
    own_key: bool = True,
    overwrite: bool = False,
) -> Backup:
    """Copy a store to `target`, and say what the copy holds.

    Others may use the store meanwhile; it is copied as it is at one moment. The copy appears whole or not at all, once what each
    table holds has been read back from it. Its chain is verified with `key`, where there is one. The signing key is not in it.

    Raises InputError where there is such a file already, unless `overwrite`, or where the store is in no file, and StoreError
    where it cannot be copied.
    """
    if not isinstance(store, DuckDBStore):
        raise InputError(
            "this store is in no file of its own; copy it to one with `ttplan copy`, or back the database up with pg_dump"
        )
    rows = copy_store(store.path, target, lock_timeout=store.lock_timeout, overwrite=overwrite)
    with DuckDBStore(target, create=False).read() as copy:
        org_id = copy.org_id()
        drift = find_drift(copy, org_id, key, own_key=own_key)
        return Backup(
            path=str(target),
            size_bytes=target.stat().st_size,
            rows={name: found.rows for name, found in rows.items()},
            anchor=None if org_id is None else copy.tip(org_id),
            chain=drift.chain,
            drift=not drift.ok,
        )
