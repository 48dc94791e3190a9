"""A plan held to the store's policy, as the chain tells of both once it is verified."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import orjson

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.require import require_verified
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import DriftError
from ttplan.model.policy import Policy, PolicyCheck
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

_MARKS = (POLICY_SET.encode(), APPROVED.encode())


def check_policy(
    snapshot: Snapshot, run: StoredPlan, key: VerifyingKey | None
) -> PolicyCheck | None:
    """Hold a plan to the store's policy; None where it has none.

    What the chain says of policy and approvals is believed once it verifies with `key`, the one that it goes on with: every hash,
    and the last signature of each of its keys. Without a key, as where the chain is kept elsewhere, nobody vouches for it.

    Raises DriftError where the chain does not verify, or the policy is not the one that it was told of last.
    """
    policy = snapshot.policy()
    told = [
        record
        for record in snapshot.entries(run.org_id)
        if any(mark in record.body for mark in _MARKS)
    ]
    if policy is None and last_policy_digest(told) is None:
        return None
    if key is not None:
        require_verified(
            lambda: snapshot.entries(run.org_id), key, "what the chain says of policy and approvals"
        )
    digest = None if policy is None else policy_digest(policy)
    if digest != last_policy_digest(told):
        how = (
            "was taken away past ttplan" if policy is None else "is not the one that was signed for"
        )
        raise DriftError(f"the store's policy {how}: set it anew, with `ttplan set-policy`")
    if policy is None or digest is None:
        return None
    approvals = find_approvals(told, run)
    verdicts = [evaluate_rule(run, rule) for rule in policy.rules]
    if policy.approvals is not None:
        approvals = select_qualifying(policy.approvals, run, approvals)
        verdicts.append(check_approvals(policy.approvals, run, approvals))
    return PolicyCheck(
        plan_name=run.name,
        plan_digest=plan_digest(run),
        policy_digest=digest,
        verdicts=tuple(verdicts),
        approved_by=tuple(one.seq for one in approvals),
    )


def last_policy_digest(records: Iterable[StoredEntry]) -> str | None:
    """The digest of the policy that the chain was told of last; None where it was told of none, or that there is none now."""
    last = None
    for record in records:
        if POLICY_SET.encode() not in record.body:
            continue
        with suppress(
            ValueError, KeyError, TypeError, AttributeError
        ):  # no entry any more, as verifying it says
            body = orjson.loads(record.body)
            if body["event"] == POLICY_SET:
                last = body["payload"].get("policy_digest")
    return last


def policy_matches_chain(snapshot: Snapshot, org_id: UUID, policy: Policy | None) -> bool:
    """Whether a policy, or that there is none, is what the chain was told of last."""
    return last_policy_digest(snapshot.entries(org_id)) == (
        None if policy is None else policy_digest(policy)
    )
