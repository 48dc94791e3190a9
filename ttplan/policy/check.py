"""A plan held to the store's policy."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import orjson

from ttplan.model.errors import DriftError
from ttplan.model.plan_run import PlanRun
from ttplan.model.policy import Policy, PolicyCheck
from ttplan.policy.approvals import POLICY_SET, approvals_of, approved_enough, plan_digest
from ttplan.policy.rules import meets, policy_digest
from ttplan.store.protocol import Snapshot


def check_policy(snapshot: Snapshot, run: PlanRun) -> PolicyCheck | None:
    """Hold a plan to the store's policy; None where it has none.

    Raises DriftError where the policy is not the one that the chain was told of last.
    """
    policy = snapshot.policy()
    if policy is None:
        return None
    digest = policy_digest(policy)
    if digest != signed_policy(snapshot, run.org_id):
        raise DriftError("the store's policy is not the one that was signed for: set it anew, with `ttplan policy set`")
    verdicts = [meets(run, rule) for rule in policy.rules]
    approvals = approvals_of(snapshot.entries(run.org_id), run)
    if policy.approvals is not None:
        verdicts.append(approved_enough(policy.approvals, run, approvals))
    return PolicyCheck(
        plan_name=run.name,
        plan_digest=plan_digest(run),
        policy_digest=digest,
        verdicts=tuple(verdicts),
        approved_by=tuple(one.seq for one in approvals),
    )


def signed_policy(snapshot: Snapshot, org_id: UUID) -> str | None:
    """The digest of the policy that the chain was told of last; None where it was told of none, or that there is none now."""
    last = None
    for digest in _told(snapshot, org_id):
        last = digest
    return last


def _told(snapshot: Snapshot, org_id: UUID) -> Iterator[str | None]:
    for record in snapshot.entries(org_id):
        if POLICY_SET.encode() in record.body:
            body = orjson.loads(record.body)
            if body["event"] == POLICY_SET:
                yield body["payload"].get("policy_digest")


def is_as_signed(snapshot: Snapshot, org_id: UUID, policy: Policy | None) -> bool:
    """Whether a policy, or that there is none, is what the chain was told of last."""
    return signed_policy(snapshot, org_id) == (None if policy is None else policy_digest(policy))
