"""Approvals: what they sign, and those that the chain has of a plan as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import blake3
import orjson
from pydantic import TypeAdapter, ValidationError

from ttplan.audit.canonical import canonical_json
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.audit import Actor, StoredEntry, User
from ttplan.model.errors import TtplanError
from ttplan.model.policy import Approval, Approvals, RuleVerdict
from ttplan.model.stored_plan import StoredPlan

APPROVED, POLICY_SET = "plan.approved", "policy.set"
_DOMAIN = b"ttplan plan approval v1\n"
_ACTOR: TypeAdapter[Actor] = TypeAdapter(Actor)


def plan_digest(run: StoredPlan) -> str:
    """The digest of all that a plan is approved for (64 hex digits): name, author, result, prices and what it was asked.

    It is blinded with the plan's nonce, so that the chain says nothing of its routes. A quality check, which adds to the result,
    makes another digest.
    """
    parts = {
        "plan_id",
        "org_id",
        "name",
        "author",
        "seed",
        "bootstrap_iterations",
        "config",
        "pricing",
        "result",
    }
    return blake3.blake3(
        bytes.fromhex(run.nonce) + canonical_json(run.model_dump(mode="json", include=parts))
    ).hexdigest()


def approval_message(digest: str, org_id: UUID) -> bytes:
    """What an approver's own key signs."""
    return _DOMAIN + org_id.bytes + bytes.fromhex(digest)


def find_approvals(records: Iterable[StoredEntry], run: StoredPlan) -> list[Approval]:
    """The approvals of a plan as it is now, in the chain's order, one a person; those of another digest do not count."""
    digest, found = plan_digest(run), dict[str, Approval]()
    for approval in _told(records, run):
        if approval.plan_digest == digest:
            found.setdefault(repr(approval.actor), approval)
    return list(found.values())


def _told(records: Iterable[StoredEntry], run: StoredPlan) -> Iterator[Approval]:
    for record in records:
        if APPROVED.encode() not in record.body:
            continue
        try:
            body = orjson.loads(record.body)
            payload = body["payload"]
            if body["event"] != APPROVED or payload["plan_id"] != str(run.plan_id):
                continue
            actor = _ACTOR.validate_python(body["actor"])
            key = payload.get("approver_key")
            approval = Approval(
                seq=record.seq, actor=actor, plan_digest=payload["plan_digest"], key=key
            )
            if key is not None and not _signed(
                payload["approver_signature"], key, approval.plan_digest, run.org_id
            ):
                continue
        except (ValueError, KeyError, TypeError, ValidationError, TtplanError):
            continue  # no approval of ours
        yield approval


def _signed(signature: str, key: str, digest: str, org_id: UUID) -> bool:
    return (
        VerifyingKey.from_hex(key).fault(bytes.fromhex(signature), approval_message(digest, org_id))
        is None
    )


def select_qualifying(
    asked: Approvals, run: StoredPlan, found: Iterable[Approval]
) -> list[Approval]:
    """The approvals that are what a policy asks for: a person's, and, where it says so, not the author's."""
    people = [one for one in found if isinstance(one.actor, User)]
    if asked.other_than_author:
        return [one for one in people if run.author is not None and one.actor != run.author]
    return people


def check_approvals(asked: Approvals, run: StoredPlan, people: Sequence[Approval]) -> RuleVerdict:
    """Whether enough persons approved a plan; `people` are the approvals that count."""
    persons = "person" if asked.needed == 1 else "persons"
    rule = f"approved by {asked.needed} {persons}" + (
        " other than its author" if asked.other_than_author else ""
    )
    unknown = (
        " (nobody is named as its author)" if asked.other_than_author and run.author is None else ""
    )
    return RuleVerdict(
        rule=rule,
        level="blocking",
        ok=len(people) >= asked.needed,
        found=f"{len(people)} approved it as it is now{unknown}",
    )
