"""A plan as it is stored now, with what can be done with it and what prevents that."""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID

from ttplan.display.amounts import plural
from ttplan.display.checks import PolicyCheckCard
from ttplan.display.plan import Plan
from ttplan.display.routes import PreviewCard
from ttplan.display.text import plain
from ttplan.model.errors import DriftError, SupersededPlan
from ttplan.model.results.changes import StaleRoute
from ttplan.panel.backend import Backend
from ttplan.panel.errors import STALE_ADVICE, error_notice
from ttplan.panel.html import Notice, shortened

Action = Literal["apply", "revert"]


class Basis(NamedTuple):
    """What a decision is based on. If it differs when the user acts, the decision is out of
    date."""

    status: str
    live: str
    stale: tuple[StaleRoute, ...]
    blocked: tuple[str, ...]


class PlanState(NamedTuple):
    """A plan when it was read: the possible action, and the objection to it, if any."""

    plan: Plan
    action: Action | None
    preview: PreviewCard | None
    policy: PolicyCheckCard | None
    objection: Notice | None
    basis: Basis

    @property
    def stale(self) -> bool:
        """Whether live routes changed since the plan was computed."""
        return bool(self.basis.stale)


_FINAL_ADVICE = {
    "reverted": "This plan was applied and reverted; make a new one with ws.plan(…) to try again.",
    "failed": "The replay of this plan failed; it can never be applied. "
    "Make a new one with ws.plan(…).",
}


def read_plan_state(backend: Backend, plan_id: UUID) -> PlanState:
    """Read a plan as it is stored now. Raises PlanNotFound and StoreError."""
    plan = backend.show(plan_id)
    if plan.status == "projected":
        return _to_apply(backend, plan)
    if plan.status == "applied":
        return _to_revert(backend, plan)
    objection = Notice("idle", f"The plan is {plan.status}.", _FINAL_ADVICE[plan.status])
    return PlanState(plan, None, None, None, objection, Basis(plan.status, "", (), ()))


def _to_apply(backend: Backend, plan: Plan) -> PlanState:
    preview, policy = backend.preview(plan.plan_id), backend.check_policy(plan.plan_id)
    blocking = (
        () if policy.result is None else tuple(verdict.rule for verdict in policy.result.blocking)
    )
    basis = Basis(preview.result.status, preview.result.live_now, preview.result.stale, blocking)
    objection = None
    if blocking:
        advice = (
            "Have it approved (ws.approve), plan again, or apply it with ws.apply(…, "
            "override=…), which its audit entry records."
        )
        objection = Notice(
            "refused",
            "The policy blocks this plan",
            f"It does not meet: {'; '.join(blocking)}.",
            advice,
        )
    elif basis.stale:
        routes = plural(len(basis.stale), "live route has", "live routes have")
        detail = f"{routes} changed since, as listed above."
        title = "Stale plan: other routes are live than it was computed against"
        objection = Notice("stale", title, detail, f"{STALE_ADVICE}.")
    return PlanState(plan, None if blocking else "apply", preview, policy, objection, basis)


def _to_revert(backend: Backend, plan: Plan) -> PlanState:
    try:
        preview = backend.preview_revert(plan.plan_id)
    except (SupersededPlan, DriftError) as error:
        return PlanState(
            plan, None, None, None, error_notice(error), Basis(plan.status, str(error), (), ())
        )
    return PlanState(
        plan,
        "revert",
        preview,
        None,
        None,
        Basis(preview.result.status, preview.result.live_now, (), ()),
    )


def missing(seen: PlanState, *, who: str, typed: str, allow: bool) -> list[str]:
    """What the user must still do before the plan can be applied or reverted. The name may be typed
    as it is shown, cut."""
    names = (plain(seen.plan.name), shortened(seen.plan.name))
    requirements = [
        ("say who you are", bool(who.strip())),
        ("tick that you apply a stale plan", allow or not seen.stale),
        ("type the plan's name as it is shown", plain(typed) in names),
    ]
    return [what for what, is_done in requirements if not is_done]
