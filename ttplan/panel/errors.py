"""What went wrong, told to a person: each kind looks different and says what to do."""

from __future__ import annotations

from ttplan.model.errors import (
    AuditError,
    Cancelled,
    ChainError,
    DriftError,
    InputError,
    InvalidState,
    KeyFileError,
    OutcomeUnknown,
    PlanNotFound,
    PolicyBlocked,
    StalePlan,
    StoreConflict,
    StoreError,
    StoreLocked,
    SupersededPlan,
    TtplanError,
)
from ttplan.panel.html import Notice, State

_LOOK_AGAIN = "the panel shows what is stored now; look at it, and decide again"
STALE_TODO = "plan again with ws.plan(…), which sees the routes of now; or tick the box below to apply it as it is, which its entry says"
# The first that fits, so the more special ones come before what they are kinds of.
_TROUBLES: tuple[tuple[type[TtplanError], State, str, str], ...] = (
    (Cancelled, "cancelled", "Cancelled", "nothing was written; start it again when you like"),
    (
        StalePlan,
        "stale",
        "Stale plan: other routes are live than it was computed against",
        STALE_TODO,
    ),
    (
        StoreLocked,
        "locked",
        "The store is in use",
        "nothing was written. Close the store there, or wait until it is done, then press Refresh and try again",
    ),
    (
        PolicyBlocked,
        "refused",
        "The policy stands against this plan",
        "have it approved (ws.approve), or plan again",
    ),
    (
        SupersededPlan,
        "refused",
        "A later plan stands on this one",
        "choose that plan, and revert it first",
    ),
    (InvalidState, "changed", "The plan is not what it was any more", _LOOK_AGAIN),
    (
        PlanNotFound,
        "changed",
        "The plan is not there any more",
        "press Refresh to see the plans there are",
    ),
    (
        DriftError,
        "error",
        "The live routes are not what was signed for",
        "nothing was written. ws.drift() names each route that differs; ws.repair() writes back what was signed for",
    ),
    (
        KeyFileError,
        "input",
        "The key cannot be used",
        "check the key; a public key is 64 hex digits",
    ),
    (
        StoreConflict,
        "changed",
        "Somebody else wrote at the same moment",
        f"nothing was written; {_LOOK_AGAIN}",
    ),
    (
        OutcomeUnknown,
        "error",
        "It is not known whether it was done",
        "all of it was written, or nothing: press Refresh once the store is there again, and do not do it again before",
    ),
    (
        StoreError,
        "error",
        "The store could not do it",
        "nothing was written; mend what it says, and try again",
    ),
    (
        ChainError,
        "broken",
        "The chain does not verify",
        "do not rely on this store; verify an exported chain that was kept elsewhere",
    ),
    (InputError, "input", "That cannot be used", "mend it, and try again"),
)


def error_notice(error: BaseException) -> Notice:
    """An error as a notice: in which state the panel is now, what happened, and what to do."""
    if isinstance(error, AuditError):
        return _audit(error)
    for kind, state, title, todo in _TROUBLES:
        if isinstance(error, kind):
            return Notice(state, title, _sentence(str(error)), _sentence(todo))
    if isinstance(error, TtplanError):
        return Notice(
            "error",
            "That did not work",
            _sentence(str(error)),
            "Press Refresh to see what is stored now.",
        )
    said = f"{type(error).__name__}: {error}"
    return Notice(
        "error",
        "Something broke that should not have",
        _sentence(said),
        "Press Refresh to see what is stored now, and report this: it is a defect of ttplan.",
    )


def _audit(error: AuditError) -> Notice:
    if error.applied:
        title = "Done, but its entry could not be confirmed"
        return Notice(
            "error", title, _sentence(str(error)), "Do not do it again; verify the chain."
        )
    title = "The audit entry could not be written, so nothing was"
    return Notice("error", title, _sentence(str(error)), "Mend what it says, and try again.")


def _sentence(text: str) -> str:
    """Text on one line that ends with a full stop."""
    flat = " ".join(text.split())
    return flat if flat.endswith((".", "!", "?")) or not flat else f"{flat}."
