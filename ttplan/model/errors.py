"""All errors that ttplan raises on purpose, in one hierarchy.

A message says what happened, where, what was expected and what to do. The command line exits with
`TtplanError.exit_code`: 1 a check failed, 2 bad usage or input, 3 the store could not do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal
from uuid import UUID

if TYPE_CHECKING:
    from ttplan.model.gateway import UnsupportedField
    from ttplan.model.results.changes import StaleRoute

_MAX_LISTED = 5


def _list_first(items: Sequence[object]) -> str:
    """Join the first items for a message, and count the others."""
    more = len(items) - _MAX_LISTED
    shown = "; ".join(map(str, items[:_MAX_LISTED]))
    return f"{shown}; and {more} more" if more > 0 else shown


class TtplanError(Exception):
    """Base class of all errors that ttplan raises on purpose.

    Attributes
    ----------
    exit_code : int
        Exit code of the command line for this error.
    """

    exit_code: ClassVar[int] = 2


class Cancelled(TtplanError):
    """The user cancelled the operation."""

    exit_code = 130


class InputError(TtplanError):
    """A file, row, field or option from outside cannot be used."""


class DataError(InputError):
    """A replay found an unusable value in a logged request. The plan is stored as failed."""


class CanonicalError(InputError):
    """A value cannot be written as canonical JSON, so it cannot be signed."""


class ProofError(TtplanError):
    """A proof, note or checkpoint is readable but does not prove what it claims."""

    exit_code = 1


class KeyFileError(InputError):
    """A signing or verifying key is missing, malformed, unsafe, or the wrong one."""


class ReplayFailed(TtplanError):
    """A replay failed in the engine, for example for lack of memory or disk space.

    Attributes
    ----------
    plan_id : UUID
    reason : str
    kept : bool
        Whether the plan is stored with the status `failed`.
    """

    exit_code = 3

    def __init__(self, plan_id: UUID, reason: str, *, kept: bool) -> None:
        self.plan_id = plan_id
        self.reason = reason
        self.kept = kept
        outcome = (
            "it is stored as a failed plan, which cannot be applied"
            if kept
            else "nothing was written"
        )
        super().__init__(f"the replay of plan {plan_id} failed: {reason}; {outcome}")


# --- apply ----------------------------------------------------------------------------------------


class ApplyError(TtplanError):
    """Base class of the errors of applying and reverting plans."""


class PlanNotFound(ApplyError):
    """The store has no plan with this id. Nothing was written.

    Attributes
    ----------
    plan_id : UUID or str
    """

    def __init__(self, plan_id: UUID | str) -> None:
        self.plan_id = plan_id
        super().__init__(f"no plan {plan_id} in this store; list its plans with `ttplan plans`")


class InvalidState(ApplyError):
    """The plan is not in the state that the operation needs. Nothing was written.

    Attributes
    ----------
    plan_id : UUID
    state, expected : str
        The status that the plan has, and the one that it needs.
    """

    def __init__(self, plan_id: UUID, state: str, expected: str = "projected") -> None:
        self.plan_id = plan_id
        self.state = state
        self.expected = expected
        super().__init__(f"plan {plan_id} is {state!r}; only a plan that is {expected!r} is valid")


class StalePlan(ApplyError):
    """The live routes have changed since the plan was computed. Nothing was written.

    Attributes
    ----------
    plan_id : UUID
    changes : tuple of StaleRoute
        How each route changed.
    """

    exit_code = 1

    def __init__(self, plan_id: UUID, changes: Iterable[StaleRoute]) -> None:
        self.plan_id = plan_id
        self.changes = tuple(changes)
        super().__init__(
            f"plan {plan_id} was computed against other live routes: {_list_first(self.changes)}. "
            "Plan again, or apply it unchanged with allow_stale, which its audit entry then records"
        )


class SupersededPlan(ApplyError):
    """A later plan replaced or renamed routes of the plan to revert. Nothing was written.

    Attributes
    ----------
    plan_id, by : UUID
        The plan to revert, and the later plan.
    routes : tuple of str
        The affected routes, by name.
    """

    exit_code = 1

    def __init__(self, plan_id: UUID, by: UUID, by_name: str, routes: Iterable[str]) -> None:
        self.plan_id = plan_id
        self.by = by
        self.routes = tuple(routes)
        names = ", ".join(f"{name!r:.60}" for name in self.routes)
        super().__init__(
            f"plan {plan_id} cannot be reverted: plan {by} ({by_name!r:.60}) has since changed its "
            f"routes {names}; revert that plan first"
        )


class DriftError(ApplyError):
    """Live routes, plans and audit chain disagree. Nothing was written."""

    exit_code = 1


class UnsupportedByGateway(TtplanError):
    """The gateway cannot express part of the live routes. Nothing was written.

    Attributes
    ----------
    losses : tuple of UnsupportedField
        What the gateway does not support, by route and field.
    """

    exit_code = 1

    def __init__(self, gateway: str, losses: Iterable[UnsupportedField]) -> None:
        self.losses = tuple(losses)
        super().__init__(
            f"{gateway} does not support this, so nothing was written: {_list_first(self.losses)}. "
            "To write the routes without it, set allow_loss"
        )


class PolicyBlocked(ApplyError):
    """The plan violates a blocking rule of the store's policy. Nothing was written.

    Attributes
    ----------
    plan_id : UUID
    rules : tuple of (str, str)
        Each violated rule, and the value that violates it.
    """

    exit_code = 1

    def __init__(self, plan_id: UUID, rules: Iterable[tuple[str, str]]) -> None:
        self.plan_id = plan_id
        self.rules = tuple(rules)
        violations = "; ".join(f"{rule!r:.80} ({value})" for rule, value in self.rules)
        super().__init__(
            f"plan {plan_id} does not meet the policy: {violations}. Plan again, have it approved, "
            "or apply it with an override (a name and a reason), which its audit entry then records"
        )


class StoreError(ApplyError):
    """The store could not complete the operation and rolled it back. Nothing was written."""

    exit_code = 3


class StoreLocked(StoreError):
    """Another process held the store for longer than the lock timeout."""


class StoreConflict(StoreError):
    """A concurrent transaction conflicted. Nothing was written; a retry may succeed."""


class OutcomeUnknown(ApplyError):
    """The connection was lost during the commit: either all of it was written, or nothing."""

    exit_code = 3


class AuditError(ApplyError):
    """The audit entry could not be written.

    Attributes
    ----------
    applied : bool
        Whether the plan is applied (or reverted) anyway. False if store and audit chain share a
        transaction, which was rolled back. True if the audit writer is a foreign one: write the
        entry again, and do not repeat the operation.
    """

    exit_code = 3

    def __init__(self, message: str, *, applied: bool = False) -> None:
        self.applied = applied
        super().__init__(message)


# --- the audit chain ------------------------------------------------------------------------------


class ChainError(TtplanError):
    """Base class of the errors of an audit chain that does not verify.

    Attributes
    ----------
    index : int
        0-based position of the first bad entry.
    """

    exit_code = 1

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        super().__init__(message)


class SeqGap(ChainError):
    """An entry's `seq` (`got`) is not its position in the chain (`expected`)."""

    def __init__(self, index: int, expected: int, got: int) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            index,
            f"entry {index}: seq is {got}, expected {expected}; an entry was removed, repeated or "
            "moved here",
        )


class BrokenChain(ChainError):
    """An entry's `prev_hash` (`got`) is not the hash of the entry before it (`expected`)."""

    def __init__(self, index: int, expected: str, got: str) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            index,
            f"entry {index}: prev_hash is {got}, expected {expected}, "
            "the hash of the entry before it",
        )


class HashMismatch(ChainError):
    """An entry's content does not have the hash that the entry carries.

    Attributes
    ----------
    expected, got : str
        The hash of the content, and the hash in the entry.
    hint : str or None
        The likely cause, if known.
    """

    def __init__(self, index: int, expected: str, got: str, *, hint: str | None = None) -> None:
        self.expected = expected
        self.got = got
        self.hint = hint
        super().__init__(
            index,
            f"entry {index}: its content hashes to {expected}, but it carries {got}; "
            + (hint or "the content was changed"),
        )


class _ReasonError(ChainError):
    """A chain error whose message is a prefix and a `reason`."""

    _prefix: ClassVar[str] = ""

    def __init__(self, index: int, reason: str) -> None:
        self.reason = reason
        super().__init__(index, f"entry {index}: {self._prefix}{reason}")


class BadSignature(_ReasonError):
    """An entry's signature is not the expected key's over its hash; `reason` says why."""

    _prefix = "bad signature: "


class HexError(_ReasonError):
    """A hash or signature is not lower-case hexadecimal of the right length."""


class BadRotation(_ReasonError):
    """A key rotation entry is invalid; `reason` says why."""

    _prefix = "the key rotation is not valid: "


class ForeignOrg(ChainError):
    """An entry's organisation (`got`) is not that of the chain's first entry (`expected`)."""

    def __init__(self, index: int, expected: UUID, got: UUID) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            index, f"entry {index}: org_id is {got}, but the chain belongs to {expected}"
        )


TruncationReason = Literal["short", "longer", "tip_differs", "rewritten"]


class TruncatedChain(ChainError):
    """The chain does not match an anchor.

    Attributes
    ----------
    expected_len, got_len : int
        Number of entries.
    reason : str
        `short`: the chain ends before the anchor; `longer`: it continues after the anchor but
        should end there; `tip_differs`: its last entry is another one; `rewritten`: it has another
        entry at the anchor's position and continues.
    """

    def __init__(
        self,
        expected_len: int,
        got_len: int,
        detail: str = "",
        *,
        reason: TruncationReason = "short",
    ) -> None:
        self.expected_len = expected_len
        self.got_len = got_len
        self.reason = reason
        expectation = "pass through" if reason == "rewritten" else "end at"
        super().__init__(
            got_len,
            f"the chain does not {expectation} its anchor ({reason}): expected {expected_len} "
            f"entries, found {got_len}" + (f"; {detail}" if detail else ""),
        )


class DistrustedKey(ChainError):
    """An entry was signed with a key that is not trusted after an earlier entry.

    Attributes
    ----------
    key : str
        The public key, hex.
    after : int
        `seq` of the last trusted entry.
    """

    def __init__(self, index: int, key: str, after: int) -> None:
        self.key = key
        self.after = after
        super().__init__(
            index,
            f"entry {index}: signed with {key}, which is not trusted after seq {after}: "
            "someone who stole the key can have written this entry",
        )


class Equivocation(ChainError):
    """Two validly signed entries share org and seq but not their hash.

    This proves that the key's holder signed two histories.

    Attributes
    ----------
    seq : int
    hashes : tuple of str
    evidence : bytes
        Both entries and the key, as a file that proves it (see `ttplan compare`).
    """

    def __init__(
        self, index: int, seq: int, hashes: tuple[str, str], evidence: bytes = b""
    ) -> None:
        self.seq = seq
        self.hashes = hashes
        self.evidence = evidence
        super().__init__(
            index,
            f"entry {index}: a second entry with seq {seq} and a good signature: {hashes[0]} and "
            f"{hashes[1]}; the holder of the key signed two histories. Keep both files as evidence",
        )
