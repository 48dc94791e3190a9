"""Errors as notices: each kind has its own look and says what to do."""

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

_DECIDE_AGAIN = "the panel shows what is stored now; check it and decide again"
STALE_ADVICE = (
    "plan again with ws.plan(…), which uses the current routes; or tick the box below to apply it "
    "as it is, which its audit entry records"
)
# The first match counts, so subclasses come before their base classes.
_NOTICES: tuple[tuple[type[TtplanError], State, str, str], ...] = (
    (Cancelled, "cancelled", "Cancelled", "nothing was written; start it again when you like"),
    (
        StalePlan,
        "stale",
        "Stale plan: other routes are live than it was computed against",
        STALE_ADVICE,
    ),
    (
        StoreLocked,
        "locked",
        "The store is in use",
        "nothing was written. Close the store there, or wait until it is done, then press Refresh "
        "and try again",
    ),
    (
        PolicyBlocked,
        "refused",
        "The policy blocks this plan",
        "have it approved (ws.approve), or plan again",
    ),
    (
        SupersededPlan,
        "refused",
        "A later plan depends on this one",
        "choose that plan and revert it first",
    ),
    (InvalidState, "changed", "The plan's status has changed", _DECIDE_AGAIN),
    (
        PlanNotFound,
        "changed",
        "The plan no longer exists",
        "press Refresh to see the stored plans",
    ),
    (
        DriftError,
        "error",
        "The live routes are not what was signed",
        "nothing was written. ws.drift() lists the routes that differ; ws.repair() restores what "
        "was signed",
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
        "Somebody else wrote at the same time",
        f"nothing was written; {_DECIDE_AGAIN}",
    ),
    (
        OutcomeUnknown,
        "error",
        "It is not known whether the change was written",
        "all of it was written, or nothing: press Refresh once the store is available again, and "
        "do not repeat it before",
    ),
    (
        StoreError,
        "error",
        "The store could not do it",
        "nothing was written; fix the cause and try again",
    ),
    (
        ChainError,
        "broken",
        "The chain does not verify",
        "do not rely on this store; verify an exported chain that is kept elsewhere",
    ),
    (InputError, "input", "The input is not valid", "correct it and try again"),
)


def error_notice(error: BaseException) -> Notice:
    """The notice for an error: the panel's state, what happened, and what to do."""
    if isinstance(error, AuditError):
        return _audit_notice(error)
    for kind, state, title, advice in _NOTICES:
        if isinstance(error, kind):
            return Notice(state, title, _sentence(str(error)), _sentence(advice))
    if isinstance(error, TtplanError):
        return Notice(
            "error",
            "That did not work",
            _sentence(str(error)),
            "Press Refresh to see what is stored now.",
        )
    message = f"{type(error).__name__}: {error}"
    return Notice(
        "error",
        "Unexpected error",
        _sentence(message),
        "Press Refresh to see what is stored now, and report this: it is a defect of ttplan.",
    )


def _audit_notice(error: AuditError) -> Notice:
    if error.applied:
        title = "Done, but its audit entry could not be confirmed"
        return Notice("error", title, _sentence(str(error)), "Do not repeat it; verify the chain.")
    title = "The audit entry could not be written, so nothing was changed"
    return Notice("error", title, _sentence(str(error)), "Fix the cause and try again.")


def _sentence(text: str) -> str:
    """Text on one line that ends with a full stop."""
    flat = " ".join(text.split())
    return flat if flat.endswith((".", "!", "?")) or not flat else f"{flat}."
