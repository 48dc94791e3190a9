"""Move a store: plans, routes, chain and requests of one organisation, into an empty store of whatever kind, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest
from typing import NamedTuple
from uuid import UUID

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.engine.dialects import fetch, fetch_batches
from ttplan.logs.reader import BATCH_ROWS
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, StoreError
from ttplan.operations.routes.drift import find_drift
from ttplan.store.protocol import Snapshot, Store, Transaction
from ttplan.store.transactions import run_in_transaction


class Copied(NamedTuple):
    """What was copied of which organisation, where its chain ends, and how the copy's chain verified."""

    org_id: UUID
    plans: int
    routes: int
    entries: int
    requests: int
    anchor: TipAnchor | None
    chain: str


def copy_into(source: Store, target: Store, key: VerifyingKey | None, *, own_key: bool) -> Copied:
    """Copy the organisation of a store into an empty one, in one transaction, and read it back before that is committed.

    `key` verifies the copy's chain; with `own_key` it is the one that the source signs with now. The signing key is not copied.

    Raises InputError where the source is empty or the target is not, and StoreError where it cannot be copied or does not read
    back the same; nothing is written then.
    """
    if source == target:
        raise InputError("a store cannot be copied into itself; choose another target")
    with source.read() as old:
        org_id = old.org_id()
        if org_id is None:
            raise InputError("there is nothing to copy: no log was imported and no plan made")

        def work(tx: Transaction) -> Copied:
            _check_empty(tx, org_id)
            _copy(old, tx, org_id)
            _read_back(old, tx, org_id)
            drift = find_drift(tx, org_id, key, own_key=own_key)
            if drift.chain == "broken":
                raise StoreError(
                    "the chain of the store to copy is broken, so nothing was copied; see `ttplan verify`"
                )
            return Copied(
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
            f"the target belongs to organisation {tx.org_id()}, not to {org_id}; choose an empty store"
        )
    holds = {
        "plans": bool(tx.statuses(org_id)),
        "live routes": bool(tx.live_route_rows(org_id)),
        "entries": tx.tip(org_id) is not None,
        "requests": tx.request_count() > 0,
        "a policy": tx.policy() is not None,
    }
    found = [name for name, there in holds.items() if there]
    if found:
        raise InputError(
            f"the target is not empty: it holds {', '.join(found)} already; choose an empty store. It was left as it is"
        )


def _copy(old: Snapshot, tx: Transaction, org_id: UUID) -> None:
    tx.set_org_id(org_id)
    for run in old.plans(org_id):
        tx.add_plan(run)
    tx.set_live_routes(org_id, old.live_routes(org_id))
    for found in old.reconciliations(org_id):
        tx.add_reconciliation(org_id, found)
    tx.set_policy(old.policy())
    for record in old.entries(org_id):
        tx.append_entry(record)
    if old.request_count():
        tx.add_requests(_rows(old), org_id)


def _logged(old: Snapshot) -> ir.Table:
    """The logged requests, in the columns in which they came into the store."""
    table = old.requests()
    texts = {name: table[name].cast("string") for name in ("id", "org_id", "matched_route_id")}
    return table.mutate(**texts).select(REQUEST_SCHEMA.names)


def _rows(old: Snapshot) -> Iterator[pa.RecordBatch]:
    for batch in fetch_batches(_logged(old), BATCH_ROWS):
        yield pa.record_batch(
            [batch[field.name].cast(field.type) for field in REQUEST_SCHEMA], schema=REQUEST_SCHEMA
        )


def _sum(of: Snapshot) -> tuple[int, Decimal | None]:
    """How many requests there are, and a sum of the hashes of their rows, in which their order makes no difference."""
    if not of.request_count():
        return 0, None
    rows = _logged(of)
    hashes = (
        ibis.struct({name: rows[name] for name in REQUEST_SCHEMA.names})
        .hash()
        .cast("decimal(38, 0)")
    )
    (found,) = fetch(rows.aggregate(rows=rows.count(), hashes=hashes.sum())).to_pylist()
    return found["rows"], found["hashes"]


def _read_back(old: Snapshot, tx: Transaction, org_id: UUID) -> None:
    """Raise StoreError where the copy is not what was copied."""
    same = {
        "plans": old.plans(org_id) == tx.plans(org_id),
        "routes": old.live_route_rows(org_id) == tx.live_route_rows(org_id),
        "reconciliations": old.reconciliations(org_id) == tx.reconciliations(org_id),
        "policy": old.policy() == tx.policy(),
        "chain": all(
            one == other for one, other in zip_longest(old.entries(org_id), tx.entries(org_id))
        ),
        "requests": _sum(old) == _sum(tx),
    }
    odd = [name for name, is_same in same.items() if not is_same]
    if odd:
        raise StoreError(
            f"the copy does not read back the same in {', '.join(odd)}; it was not kept"
        )
