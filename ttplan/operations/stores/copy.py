"""Copy a store: into an empty store of any kind, byte for byte, or into a backup file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, StoreError
from ttplan.model.results.health import Backup
from ttplan.operations.context import Context
from ttplan.operations.routes.drift import find_drift
from ttplan.store.protocol import Snapshot, Store, Transaction
from ttplan.store.transactions import run_in_transaction

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa


class StoreCopy(NamedTuple):
    """What was copied of an organisation, where its chain ends, and whether the copy verified."""

    org_id: UUID
    plans: int
    routes: int
    entries: int
    requests: int
    anchor: TipAnchor | None
    chain: str


def copy(
    context: Context, target: Store, *, public_key: str | VerifyingKey | None = None
) -> StoreCopy:
    """Copy plans, routes, chain and requests into an empty store of any kind.

    The copy is whole or not made at all. It is read back and its chain is verified. The signing key
    is not copied.

    Parameters
    ----------
    target : Store
        An empty store.
    public_key : str or VerifyingKey, optional
        The key to verify the copy's chain with; the workspace's own if left out.

    Returns
    -------
    StoreCopyCard
        What was copied, and whether the chain verified.

    Raises
    ------
    InputError
        If this store is empty, or `target` is not.
    StoreError
        If the copy fails or does not read back the same.

    Examples
    --------
    >>> ws.copy(ttplan.MemoryStore()).plans
    1
    """
    key = context.keys.verifying_or_none(public_key)
    return copy_into(context.store, target, key, own_key=public_key is None)


def backup(context: Context, path: str | os.PathLike[str], *, overwrite: bool = False) -> Backup:
    """Copy the store to a file while it is in use.

    The copy is consistent, and whole or not made at all. It is read back and its chain is verified.
    The signing key is not in it.

    Parameters
    ----------
    path : path
        The file to write.
    overwrite : bool, default False
        Replace a file that exists.

    Returns
    -------
    BackupCard
        What the copy holds.

    Raises
    ------
    InputError
        If the file exists, or the store is not in a file of its own.
    StoreError
        If the store cannot be copied.

    Examples
    --------
    >>> ws.backup("backup.duckdb").result.rows["plan_runs"]
    1
    """
    from ttplan.store.duckdb.backup import copy_store
    from ttplan.store.duckdb.store import DuckDBStore

    store, target = context.store, Path(path)
    if not isinstance(store, DuckDBStore):
        raise InputError(
            "this store is not in a file of its own; copy it to one with `ttplan copy`, or back "
            "the database up with pg_dump"
        )
    tables = copy_store(store.path, target, lock_timeout=store.lock_timeout, overwrite=overwrite)
    with DuckDBStore(target, create=False).read() as written:
        org_id = written.org_id()
        drift = find_drift(written, org_id, context.keys.verifying_or_none(None), own_key=True)
        return Backup(
            path=str(target),
            size_bytes=target.stat().st_size,
            rows={name: table.rows for name, table in tables.items()},
            anchor=None if org_id is None else written.tip(org_id),
            chain=drift.chain,
            drift=not drift.ok,
        )


def copy_into(
    source: Store, target: Store, key: VerifyingKey | None, *, own_key: bool
) -> StoreCopy:
    """Copy the organisation of a store into an empty one, and read it back before the commit.

    `key` verifies the copy's chain; with `own_key` it is the one that the source signs with now.
    Raises InputError if the source is empty or the target is not, and StoreError if the copy
    fails or does not read back the same; nothing is written then.
    """
    if source == target:
        raise InputError("a store cannot be copied into itself; choose another target")
    with source.read() as old:
        org_id = old.org_id()
        if org_id is None:
            raise InputError("there is nothing to copy: no log was imported and no plan made")

        def work(tx: Transaction) -> StoreCopy:
            _check_empty(tx, org_id)
            _copy(old, tx, org_id)
            _read_back(old, tx, org_id)
            drift = find_drift(tx, org_id, key, own_key=own_key)
            if drift.chain == "broken":
                raise StoreError(
                    "the chain of the store to copy is broken, so nothing was copied; see "
                    "`ttplan verify`"
                )
            return StoreCopy(
                org_id=org_id,
                plans=len(tx.statuses(org_id)),
                routes=len(tx.live_route_rows(org_id)),
                entries=drift.entries,
                requests=tx.request_count(),
                anchor=tx.tip(org_id),
                chain=drift.chain,
            )

        return run_in_transaction(target, work)


def _check_empty(tx: Transaction, org_id: UUID) -> None:
    if tx.org_id() not in (None, org_id):
        raise InputError(
            f"the target belongs to organisation {tx.org_id()}, not to {org_id}; choose an empty "
            "store"
        )
    contents = {
        "plans": bool(tx.statuses(org_id)),
        "live routes": bool(tx.live_route_rows(org_id)),
        "entries": tx.tip(org_id) is not None,
        "requests": tx.request_count() > 0,
        "a policy": tx.policy() is not None,
    }
    present = [name for name, is_there in contents.items() if is_there]
    if present:
        raise InputError(
            f"the target is not empty: it holds {', '.join(present)} already; choose an empty "
            "store. It was left as it is"
        )


def _copy(old: Snapshot, tx: Transaction, org_id: UUID) -> None:
    tx.set_org_id(org_id)
    for run in old.plans(org_id):
        tx.add_plan(run)
    tx.set_live_routes(org_id, old.live_routes(org_id))
    for reconciliation in old.reconciliations(org_id):
        tx.add_reconciliation(org_id, reconciliation)
    tx.set_policy(old.policy())
    for record in old.entries(org_id):
        tx.append_entry(record)
    if old.request_count():
        tx.add_requests(_request_batches(old), org_id)


def _logged(old: Snapshot) -> ir.Table:
    """The logged requests, in the columns in which they were imported."""

    from ttplan.logs.rows import REQUEST_SCHEMA

    table = old.requests()
    texts = {name: table[name].cast("string") for name in ("id", "org_id", "matched_route_id")}
    return table.mutate(**texts).select(REQUEST_SCHEMA.names)


def _request_batches(old: Snapshot) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    from ttplan.engine.dialects import fetch_batches
    from ttplan.logs.reader import BATCH_ROWS
    from ttplan.logs.rows import REQUEST_SCHEMA

    for batch in fetch_batches(_logged(old), BATCH_ROWS):
        yield pa.record_batch(
            [batch[field.name].cast(field.type) for field in REQUEST_SCHEMA], schema=REQUEST_SCHEMA
        )


def _checksum(snapshot: Snapshot) -> tuple[int, Decimal | None]:
    """How many requests there are, and the sum of the hashes of their rows, in any order."""
    import ibis

    from ttplan.engine.dialects import fetch
    from ttplan.logs.rows import REQUEST_SCHEMA

    if not snapshot.request_count():
        return 0, None
    rows = _logged(snapshot)
    hashes = (
        ibis.struct({name: rows[name] for name in REQUEST_SCHEMA.names})
        .hash()
        .cast("decimal(38, 0)")
    )
    (sums,) = fetch(rows.aggregate(rows=rows.count(), hashes=hashes.sum())).to_pylist()
    return sums["rows"], sums["hashes"]


def _read_back(old: Snapshot, tx: Transaction, org_id: UUID) -> None:
    """Raise StoreError if the copy differs from its source."""
    same = {
        "plans": old.plans(org_id) == tx.plans(org_id),
        "routes": old.live_route_rows(org_id) == tx.live_route_rows(org_id),
        "reconciliations": old.reconciliations(org_id) == tx.reconciliations(org_id),
        "policy": old.policy() == tx.policy(),
        "chain": all(
            source == copy for source, copy in zip_longest(old.entries(org_id), tx.entries(org_id))
        ),
        "requests": _checksum(old) == _checksum(tx),
    }
    different = [name for name, is_same in same.items() if not is_same]
    if different:
        raise StoreError(
            f"the copy does not read back the same in {', '.join(different)}; it was not kept"
        )
