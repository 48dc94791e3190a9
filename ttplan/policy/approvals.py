"""Approvals: what they sign, and which approvals of a plan the audit chain has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from ttplan.audit.blinding import commit, derive_blinding
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.audit import User
from ttplan.model.errors import TtplanError
from ttplan.model.policy import Approval, Approvals, RuleVerdict
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import StoredPlan

APPROVED, POLICY_SET = "plan.approved", "policy.set"
_DOMAIN = b"ttplan plan approval v1\n"
_APPROVED_FIELDS = {"plan_id", "org_id", "name", "author", "seed", "bootstrap_iterations"} | {
    "config",
    "pricing",
    "result",
}


def plan_digest(run: StoredPlan) -> str:
    """Return the digest of what an approval covers (64 hex digits): the plan and its result.

    A blinding derived from the plan's nonce hides it, so the chain reveals nothing about the
    routes. A quality check adds to the result, and so changes the digest.
    """
    return commit(derive_blinding(run.nonce, "plan digest"), _approved_content(run))


def _approved_content(run: StoredPlan) -> dict[str, Any]:
    return run.model_dump(mode="json", include=_APPROVED_FIELDS)


def approval_message(digest: str, org_id: UUID) -> bytes:
    """Return the message that an approver's own key signs."""
    return _DOMAIN + org_id.bytes + bytes.fromhex(digest)


def find_approvals(records: Iterable[StoredEntry], run: StoredPlan) -> list[Approval]:
    """Return the approvals of a plan in its current state, in the chain's order, one per person."""
    approvals: dict[str, Approval] = {}
    # The second one is that of approvals in version 0.1.
    digests = {plan_digest(run), commit(run.nonce, _approved_content(run))}
    for approval in _read_approvals(records, run):
        if approval.plan_digest in digests:
            approvals.setdefault(repr(approval.actor), approval)
    return list(approvals.values())


def _read_approvals(records: Iterable[StoredEntry], run: StoredPlan) -> Iterator[Approval]:
    """Yield the well-formed approvals of a plan, whatever its state was."""
    for record in records:
        if APPROVED.encode() not in record.body:
            continue
        try:
            body = orjson.loads(record.body)
            payload = body["payload"]
            if body["event"] != APPROVED or payload["plan_id"] != str(run.plan_id):
                continue
            digest, key = payload["plan_digest"], payload.get("approver_key")
            approval = Approval(seq=record.seq, actor=body["actor"], plan_digest=digest, key=key)
            if key is not None:
                signature = bytes.fromhex(payload["approver_signature"])
                message = approval_message(digest, run.org_id)
                if VerifyingKey.from_hex(key).signature_problem(signature, message) is not None:
                    continue
        except (ValueError, KeyError, TypeError, TtplanError):
            continue  # a malformed entry does not approve anything
        yield approval


def select_qualifying(
    required: Approvals, run: StoredPlan, approvals: Iterable[Approval]
) -> list[Approval]:
    """Return the approvals that count for a policy: by persons and, if required, not the author."""
    by_persons = [approval for approval in approvals if isinstance(approval.actor, User)]
    if required.other_than_author:
        return [
            approval
            for approval in by_persons
            if run.author is not None and approval.actor != run.author
        ]
    return by_persons


def check_approvals(
    required: Approvals, run: StoredPlan, qualifying: Sequence[Approval]
) -> RuleVerdict:
    """Check whether enough persons approved a plan; `qualifying` are the approvals that count."""
    rule = f"approved by {required.needed} {'person' if required.needed == 1 else 'persons'}"
    found = f"{len(qualifying)} approved it as it is now"
    if required.other_than_author:
        rule += " other than its author"
        if run.author is None:
            found += " (nobody is named as its author)"
    return RuleVerdict(
        rule=rule, level="blocking", ok=len(qualifying) >= required.needed, found=found
    )
