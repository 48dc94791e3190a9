"""Write back the live routes that were signed for, with an audit entry of its own."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from ttplan.apply import Clock, StoreChain, utc_now
from ttplan.audit.entries import format_timestamp
from ttplan.history.timeline import REPAIRED, load_history
from ttplan.model.audit import Actor, AuditEntry
from ttplan.model.errors import DriftError, StoreError, TtplanError
from ttplan.operations.routes.drift import find_drift
from ttplan.store.protocol import Transaction
from ttplan.store.transactions import run_in_transaction


def repair_routes(
    chain: StoreChain, org_id: UUID, actor: Actor, *, clock: Clock = utc_now
) -> AuditEntry | None:
    """Make the live routes what plan rows and chain come to, and return the entry `routes.repaired`; None where they are.

    Routes and entry are one transaction. The payload says how many routes were edited, missing and foreign, and not which.
    Raises DriftError where it cannot be known what was signed for (a broken chain, a plan row that is not what was signed),
    StoreError and AuditError; nothing is written then.
    """
    repaired_at = clock()
    try:
        entry = run_in_transaction(
            chain.store, lambda tx: _repair(tx, chain, org_id, actor, format_timestamp(repaired_at))
        )
    except TtplanError:
        raise
    except Exception as error:
        raise StoreError(
            f"the routes could not be repaired, nothing was written: {error}"
        ) from error
    if entry is not None:
        chain.publish(entry)
    return entry


def _repair(
    tx: Transaction, chain: StoreChain, org_id: UUID, actor: Actor, repaired_at: str
) -> AuditEntry | None:
    drift = find_drift(tx, org_id, chain.public_key, own_key=True)
    blocking = [problem.message for problem in drift.problems if problem.blocks]
    if blocking:
        more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
        raise DriftError(
            f"what was signed for cannot be known, so nothing was repaired: {blocking[0]}{more}"
        )
    if not drift.routes:
        return None
    tx.set_live_routes(org_id, load_history(tx, org_id).live.values())
    counts = Counter(route.kind for route in drift.routes)
    payload = {
        "repaired_at": repaired_at,
        **{kind: counts[kind] for kind in ("edited", "missing", "foreign")},
    }
    failure_message = "the routes were not repaired, the audit entry could not be written"
    return chain.append_required(
        tx, org_id, actor, REPAIRED, payload, failure_message=failure_message
    )
