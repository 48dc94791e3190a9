"""A plan held to the store's policy, as the chain tells of both once it is verified."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import orjson

from ttplan.audit.keys import VerifyingKey
from ttplan.audit.rotation import EVENT as ROTATED
from ttplan.audit.rotation import keys_of
from ttplan.audit.verify import verify_chain
from ttplan.model.audit import Record
from ttplan.model.errors import DriftError, TtplanError
from ttplan.model.plan_run import PlanRun
from ttplan.model.policy import Policy, PolicyCheck
from ttplan.policy.approvals import APPROVED, POLICY_SET, approvals_of, approved_enough, plan_digest
from ttplan.policy.rules import meets, policy_digest
from ttplan.store.protocol import Snapshot

_MARKS = tuple(event.encode() for event in (POLICY_SET, APPROVED, ROTATED))


def check_policy(snapshot: Snapshot, run: PlanRun, key: VerifyingKey | None) -> PolicyCheck | None:
    """Hold a plan to the store's policy; None where it has none.

    What the chain says of policy and approvals is believed once it verifies with `key`, the one that it goes on with: every hash,
    and the last signature of each of its keys. Without a key, as where the chain is kept elsewhere, nobody vouches for it.

    Raises DriftError where the chain does not verify, or the policy is not the one that it was told of last.
    """
    policy = snapshot.policy()
    told = [record for record in snapshot.entries(run.org_id) if any(mark in record.body for mark in _MARKS)]
    if policy is None and signed_policy(told) is None:
        return None
    if key is not None:
        _need_verified(snapshot, run.org_id, told, key)
    digest = None if policy is None else policy_digest(policy)
    if digest != signed_policy(told):
        how = "was taken away past ttplan" if policy is None else "is not the one that was signed for"
        raise DriftError(f"the store's policy {how}: set it anew, with `ttplan set-policy`")
    if policy is None or digest is None:
        return None
    approvals = approvals_of(told, run)
    verdicts = [meets(run, rule) for rule in policy.rules]
    if policy.approvals is not None:
        verdicts.append(approved_enough(policy.approvals, run, approvals))
    return PolicyCheck(
        plan_name=run.name,
        plan_digest=plan_digest(run),
        policy_digest=digest,
        verdicts=tuple(verdicts),
        approved_by=tuple(one.seq for one in approvals),
    )


def _need_verified(snapshot: Snapshot, org_id: UUID, told: Iterable[Record], key: VerifyingKey) -> None:
    try:
        found = verify_chain(snapshot.entries(org_id), keys_of(told, key)[0], signatures="tip")
    except TtplanError as error:
        raise DriftError(
            f"what the chain says of policy and approvals cannot be believed: {error}; see `ttplan verify`"
        ) from error
    if found.entries and found.keys[-1].key != key.hex:
        raise DriftError(
            f"what the chain says of policy and approvals cannot be believed: it ends with the key {found.keys[-1].key}, and the "
            f"one here is {key.hex}; load the key that the chain goes on with"
        )


def signed_policy(records: Iterable[Record]) -> str | None:
    """The digest of the policy that the chain was told of last; None where it was told of none, or that there is none now."""
    last = None
    for record in records:
        if POLICY_SET.encode() not in record.body:
            continue
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # no entry any more, as verifying it says
            body = orjson.loads(record.body)
            if body["event"] == POLICY_SET:
                last = body["payload"].get("policy_digest")
    return last


def is_as_signed(snapshot: Snapshot, org_id: UUID, policy: Policy | None) -> bool:
    """Whether a policy, or that there is none, is what the chain was told of last."""
    return signed_policy(snapshot.entries(org_id)) == (None if policy is None else policy_digest(policy))
