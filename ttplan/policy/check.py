"""Check a plan against the store's policy, both as the verified audit chain records them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import orjson

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.require import require_verified
from ttplan.model.errors import DriftError
from ttplan.model.policy import Policy, PolicyCheck
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import StoredPlan
from ttplan.policy.approvals import (
    APPROVED,
    POLICY_SET,
    check_approvals,
    find_approvals,
    plan_digest,
    select_qualifying,
)
from ttplan.policy.rules import evaluate_rule, policy_digest
from ttplan.store.protocol import Snapshot

_EVENTS = (POLICY_SET.encode(), APPROVED.encode())


def check_policy(
    snapshot: Snapshot, run: StoredPlan, key: VerifyingKey | None
) -> PolicyCheck | None:
    """Check a plan against the store's policy; None if there is no policy.

    The chain's policy and approvals count only if the chain verifies with `key`, its current key:
    every hash, and the last signature of each of its keys. Without a key, as for a chain that is
    kept elsewhere, they are not verified.

    Raises DriftError if the chain does not verify, or if the policy is not the last recorded one.
    """
    policy = snapshot.policy()
    records = [
        record
        for record in snapshot.entries(run.org_id)
        if any(event in record.body for event in _EVENTS)
    ]
    recorded_digest = last_policy_digest(records)
    if policy is None and recorded_digest is None:
        return None
    if key is not None:
        require_verified(
            lambda: snapshot.entries(run.org_id), key, "what the chain says of policy and approvals"
        )
    digest = None if policy is None else policy_digest(policy)
    if digest != recorded_digest:
        problem = "was removed without ttplan" if policy is None else "is not the signed one"
        raise DriftError(f"the store's policy {problem}: set it again, with `ttplan set-policy`")
    if policy is None or digest is None:
        return None
    approvals = find_approvals(records, run)
    verdicts = [evaluate_rule(run, rule) for rule in policy.rules]
    if policy.approvals is not None:
        approvals = select_qualifying(policy.approvals, run, approvals)
        verdicts.append(check_approvals(policy.approvals, run, approvals))
    return PolicyCheck(
        plan_name=run.name,
        plan_digest=plan_digest(run),
        policy_digest=digest,
        verdicts=tuple(verdicts),
        approved_by=tuple(approval.seq for approval in approvals),
    )


def last_policy_digest(records: Iterable[StoredEntry]) -> str | None:
    """Return the digest of the policy that the chain recorded last; None if there is none."""
    digest = None
    for record in records:
        if POLICY_SET.encode() not in record.body:
            continue
        # A malformed entry is reported when the chain is verified.
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            body = orjson.loads(record.body)
            if body["event"] == POLICY_SET:
                digest = body["payload"].get("policy_digest")
    return digest


def policy_matches_chain(snapshot: Snapshot, org_id: UUID, policy: Policy | None) -> bool:
    """Return whether a policy, or its absence, is what the chain recorded last."""
    digest = None if policy is None else policy_digest(policy)
    return last_policy_digest(snapshot.entries(org_id)) == digest
