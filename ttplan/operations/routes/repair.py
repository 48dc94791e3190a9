"""Write back the signed live routes, with an audit entry."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from ttplan.apply import Clock, StoreChain, utc_now
from ttplan.audit.entries import format_timestamp
from ttplan.history.timeline import REPAIRED, load_history
from ttplan.model.audit import Actor, Anonymous, AuditEntry
from ttplan.model.errors import DriftError, StoreError, TtplanError
from ttplan.operations.context import Context
from ttplan.operations.routes.drift import find_drift
from ttplan.store.protocol import Transaction
from ttplan.store.transactions import run_in_transaction


def repair(context: Context, *, actor: Actor | None = None) -> AuditEntry | None:
    """Write back the signed live routes, if others are live.

    Routes and audit entry are one transaction. If it fails, nothing is written.

    Parameters
    ----------
    actor : User, ApiKey, System or Anonymous, optional
        Who repairs them. `Anonymous` if left out.

    Returns
    -------
    EntryCard or None
        The audit entry ``routes.repaired``, which counts the edited, missing and foreign routes.
        None if there is nothing to repair.

    Raises
    ------
    DriftError
        If it cannot be known what was signed: the chain is broken, or a plan row is not the
        signed one.
    StoreError, AuditError, KeyFileError
        If routes or entry cannot be stored.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.repair() is None
    True
    """
    org_id = context.org_id()
    if org_id is None:
        return None
    return repair_routes(context.chain(), org_id, actor or Anonymous(), clock=context.clock)


def repair_routes(
    chain: StoreChain, org_id: UUID, actor: Actor, *, clock: Clock = utc_now
) -> AuditEntry | None:
    """Restore the live routes that were signed for; return the entry if one was needed."""
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
            f"the signed routes cannot be known, so nothing was repaired: {blocking[0]}{more}"
        )
    if not drift.routes:
        return None
    tx.set_live_routes(org_id, load_history(tx, org_id).live.values())
    counts = Counter(route.kind for route in drift.routes)
    payload = {
        "repaired_at": repaired_at,
        **{kind: counts[kind] for kind in ("edited", "missing", "foreign")},
    }
    failure = "the routes were not repaired, the audit entry could not be written"
    return chain.append_required(tx, org_id, actor, REPAIRED, payload, failure_message=failure)
