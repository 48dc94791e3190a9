"""Every error that ttplan raises on purpose, as one small hierarchy.

Each message says what happened, where, what was expected and what to do. `TtplanError.exit_code` is what the command line
exits with: 1 a check failed, 2 bad usage or input, 3 the store could not do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal
from uuid import UUID

if TYPE_CHECKING:
    from ttplan.model.gateway import UnsupportedField
    from ttplan.model.results.changes import StaleRoute


class TtplanError(Exception):
    """The root of all errors raised by ttplan."""

    exit_code: ClassVar[int] = 2


class Cancelled(TtplanError):
    """Whoever had asked for it has stopped it, by an interrupt."""

    exit_code = 130


class InputError(TtplanError):
    """Something that came from outside cannot be used: a file, a row, a field, an option."""


class DataError(InputError):
    """A logged request with a value that a replay found out not to be usable. A plan that ends so is kept as a failed one."""


class CanonicalError(InputError):
    """A value that cannot be written as canonical JSON, so it cannot be signed."""


class ProofError(TtplanError):
    """A proof, note or checkpoint is read, but does not prove what it claims, or cannot prove anything."""

    exit_code = 1


class KeyFileError(InputError):
    """A signing or verifying key is missing, malformed, unsafe to use, or not the right one."""


class ReplayFailed(TtplanError):
    """A replay that broke in the engine: memory, disk, a defect. `kept` says whether it is stored as a failed plan."""

    exit_code = 3

    def __init__(self, plan_id: UUID, reason: str, *, kept: bool) -> None:
        self.plan_id = plan_id
        self.reason = reason
        self.kept = kept
        told = (
            "it is kept as a failed plan, which can never be applied"
            if kept
            else "nothing was written"
        )
        super().__init__(f"the replay of plan {plan_id} failed: {reason}; {told}")


# --- apply -----------------------------------------------------------------------------------------------------------


class ApplyError(TtplanError):
    """A plan could not be applied. Each way to fail has its own subclass."""


class PlanNotFound(ApplyError):
    """No plan with this id. Nothing was written."""

    def __init__(self, plan_id: UUID | str) -> None:
        self.plan_id = plan_id
        super().__init__(
            f"no plan {plan_id} in this store; list the plans there are with `ttplan plans`"
        )


class InvalidState(ApplyError):
    """The plan is not in the state that the operation needs. Nothing was written."""

    def __init__(self, plan_id: UUID, state: str, expected: str = "projected") -> None:
        self.plan_id = plan_id
        self.state = state
        self.expected = expected
        super().__init__(
            f"plan {plan_id} is {state!r}; only a plan that is {expected!r} can do this"
        )


class StalePlan(ApplyError):
    """The live routes are not those that the plan was computed against; `changes` says what changed. Nothing was written."""

    exit_code = 1
    MOST_SHOWN = 5

    def __init__(self, plan_id: UUID, changes: Sequence[StaleRoute]) -> None:
        self.plan_id = plan_id
        self.changes = tuple(changes)
        more = len(self.changes) - self.MOST_SHOWN
        said = "; ".join(map(str, self.changes[: self.MOST_SHOWN])) + (
            f"; and {more} more" if more > 0 else ""
        )
        super().__init__(
            f"plan {plan_id} was computed against other live routes: {said}. Plan again, or apply it as it is with allow_stale, "
            "which its audit entry then says"
        )


class SupersededPlan(ApplyError):
    """A later plan has replaced or renamed routes of the plan that was to be reverted, or taken a name that they had before.

    Nothing was written.
    """

    exit_code = 1

    def __init__(self, plan_id: UUID, by: UUID, by_name: str, routes: Sequence[str]) -> None:
        self.plan_id = plan_id
        self.by = by
        self.routes = tuple(routes)
        said = ", ".join(f"{name!r:.60}" for name in self.routes)
        super().__init__(
            f"plan {plan_id} cannot be reverted: plan {by} ({by_name!r:.60}) has since touched its {said}; revert that one first"
        )


class DriftError(ApplyError):
    """Live routes, plans and chain do not say the same, where the operation has to rely on it. Nothing was written."""

    exit_code = 1


class UnsupportedByGateway(TtplanError):
    """A gateway has no words for something of the live routes; `losses` says of which. Nothing was written."""

    exit_code = 1
    MOST_SHOWN = 5

    def __init__(self, gateway: str, losses: Sequence[UnsupportedField]) -> None:
        self.losses = tuple(losses)
        more = len(self.losses) - self.MOST_SHOWN
        said = "; ".join(map(str, self.losses[: self.MOST_SHOWN])) + (
            f"; and {more} more" if more > 0 else ""
        )
        super().__init__(
            f"{gateway} has no words for this, so nothing was written: {said}. To do it all the same: allow_loss"
        )


class PolicyBlocked(ApplyError):
    """The plan does not meet a blocking rule of the store's policy; `rules` says which. Nothing was written."""

    exit_code = 1

    def __init__(self, plan_id: UUID, rules: Sequence[tuple[str, str]]) -> None:
        self.plan_id = plan_id
        self.rules = tuple(rules)
        said = "; ".join(f"{rule!r:.80} ({found})" for rule, found in self.rules)
        super().__init__(
            f"plan {plan_id} does not meet the policy: {said}. Plan again, have it approved, or apply it with an override that "
            "names you and your reason (override), which its audit entry then says"
        )


class StoreError(ApplyError):
    """The store could not complete the operation. It was rolled back: nothing was written."""

    exit_code = 3


class StoreLocked(StoreError):
    """Another process held the store for longer than the lock time-out."""


class StoreConflict(StoreError):
    """What others did at the same moment stood in the way. Nothing was written, and trying again may well work."""


class OutcomeUnknown(ApplyError):
    """The store was lost while it committed, and could not be asked since: all of it was written, or nothing."""

    exit_code = 3


class AuditError(ApplyError):
    """The audit entry could not be written.

    `applied` says whether the plan is applied (or reverted) all the same: False where store and chain share a transaction (it was
    rolled back), True where the audit writer is a foreign one (re-emit the entry, do not do it again).
    """

    exit_code = 3

    def __init__(self, message: str, *, applied: bool = False) -> None:
        self.applied = applied
        super().__init__(message)


# --- the audit chain -------------------------------------------------------------------------------------------------


class ChainError(TtplanError):
    """An audit chain does not verify. `index` is the 0-based position of the first bad entry."""

    exit_code = 1

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        super().__init__(message)


class SeqGap(ChainError):
    """An entry's `seq` is not its position in the chain."""

    def __init__(self, index: int, expected: int, got: int) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            index,
            f"entry {index}: seq is {got}, expected {expected}; an entry was removed, repeated or moved here",
        )


class BrokenChain(ChainError):
    """An entry's `prev_hash` is not the hash of the entry before it."""

    def __init__(self, index: int, expected: str, got: str) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            index,
            f"entry {index}: prev_hash is {got}, expected {expected}, the hash of the entry before it",
        )


class HashMismatch(ChainError):
    """An entry's content does not give the hash that the entry carries. `hint` says why, where that can be told."""

    def __init__(self, index: int, expected: str, got: str, *, hint: str | None = None) -> None:
        self.expected = expected
        self.got = got
        self.hint = hint
        why = hint or "the content was changed"
        super().__init__(
            index, f"entry {index}: its content hashes to {expected}, but it carries {got}; {why}"
        )


class BadSignature(ChainError):
    """An entry's signature was not made over its hash by the key that the chain is verified with."""

    def __init__(self, index: int, reason: str) -> None:
        self.reason = reason
        super().__init__(index, f"entry {index}: bad signature: {reason}")


class HexError(ChainError):
    """A hash or signature is not lower-case hexadecimal of the right length."""

    def __init__(self, index: int, reason: str) -> None:
        self.reason = reason
        super().__init__(index, f"entry {index}: {reason}")


class ForeignOrg(ChainError):
    """An entry belongs to another organisation than the chain's first."""

    def __init__(self, index: int, expected: UUID, got: UUID) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            index, f"entry {index}: org_id is {got}, but the chain belongs to {expected}"
        )


TruncationReason = Literal["short", "longer", "tip_differs", "rewritten"]


class TruncatedChain(ChainError):
    """The chain is not the one that an anchor was written down of. `reason` says how:

    `short`: it ends before the anchor; `longer`: it goes on after it, where it had to end there; `tip_differs`: its last entry is
    another one; `rewritten`: it has another entry at the anchor's place, and goes on.
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
        wanted = "pass through" if reason == "rewritten" else "end at"
        super().__init__(
            got_len,
            f"the chain does not {wanted} its anchor ({reason}): expected {expected_len} entries, found {got_len}"
            + (f"; {detail}" if detail else ""),
        )


class BadRotation(ChainError):
    """An entry hands the chain over to another key, but not as it has to."""

    def __init__(self, index: int, reason: str) -> None:
        self.reason = reason
        super().__init__(index, f"entry {index}: the key rotation is not valid: {reason}")


class DistrustedKey(ChainError):
    """An entry was signed with a key that is not trusted any more after an earlier one."""

    def __init__(self, index: int, key: str, after: int) -> None:
        self.key = key
        self.after = after
        super().__init__(
            index,
            f"entry {index}: signed with {key}, which is not trusted after seq {after}: whoever stole it can have written this",
        )


class Equivocation(ChainError):
    """Two well-signed entries share org and seq but not their hash: proof that the signer showed two histories.

    `evidence` is both entries and the key, as a file that proves it to anybody (`ttplan compare`).
    """

    def __init__(
        self, index: int, seq: int, hashes: tuple[str, str], evidence: bytes = b""
    ) -> None:
        self.seq = seq
        self.hashes = hashes
        self.evidence = evidence
        super().__init__(
            index,
            f"entry {index}: a second entry with seq {seq} and a good signature: {hashes[0]} and {hashes[1]}; "
            "whoever holds the key signed two histories. Keep both files as evidence",
        )
