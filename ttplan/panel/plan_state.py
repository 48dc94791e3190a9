"""One look at a plan: the plan, what would change, and what stands against it, with what makes a later look the same one."""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID

from ttplan.display.checks import PolicyCheckCard
from ttplan.display.plan import Plan
from ttplan.display.routes import PreviewCard
from ttplan.display.text import plain
from ttplan.model.errors import DriftError, SupersededPlan
from ttplan.model.results.changes import StaleRoute
from ttplan.panel.backend import Backend
from ttplan.panel.errors import STALE_TODO, error_notice
from ttplan.panel.html import Notice, shortened

Action = Literal["apply", "revert"]


class Basis(NamedTuple):
    """What a decision rests on. Where it differs at the moment of acting, what was decided on is not there any more."""

    status: str
    live: str
    stale: tuple[StaleRoute, ...]
    blocked: tuple[str, ...]


class PlanState(NamedTuple):
    """A plan as it was when somebody looked: what can be done with it, and what stands against that."""

    plan: Plan
    action: Action | None
    preview: PreviewCard | None
    policy: PolicyCheckCard | None
    against: Notice | None
    basis: Basis

    @property
    def stale(self) -> bool:
        """Whether other routes are live than the plan was computed against."""
        return bool(self.basis.stale)


_OVER = {
    "reverted": "This plan was applied and reverted; make a new one with ws.plan(…) to try again.",
    "failed": "The replay of this plan failed; it can never be applied. Make a new one with ws.plan(…).",
}


def read_plan_state(desk: Backend, plan_id: UUID) -> PlanState:
    """A plan as it is stored now. Raises PlanNotFound and StoreError."""
    plan = desk.get(plan_id)
    if plan.status == "projected":
        return _to_apply(desk, plan)
    if plan.status == "applied":
        return _to_revert(desk, plan)
    against = Notice("idle", f"The plan is {plan.status}.", _OVER[plan.status])
    return PlanState(plan, None, None, None, against, Basis(plan.status, "", (), ()))


def _to_apply(desk: Backend, plan: Plan) -> PlanState:
    preview, policy = desk.preview(plan.plan_id), desk.check_policy(plan.plan_id)
    blocking = () if policy.result is None else tuple(one.rule for one in policy.result.blocking)
    basis = Basis(preview.result.status, preview.result.live_now, preview.result.stale, blocking)
    against = None
    if blocking:
        todo = "Have it approved (ws.approve), plan again, or apply it with ws.apply(…, override=…), which its entry says."
        against = Notice(
            "refused",
            "The policy stands against this plan",
            f"It does not meet: {'; '.join(blocking)}.",
            todo,
        )
    elif basis.stale:
        count = len(basis.stale)
        said = f"{count:,} live {'route has' if count == 1 else 'routes have'} changed since, as is listed above."
        title = "Stale plan: other routes are live than it was computed against"
        against = Notice("stale", title, said, f"{STALE_TODO}.")
    return PlanState(plan, None if blocking else "apply", preview, policy, against, basis)


def _to_revert(desk: Backend, plan: Plan) -> PlanState:
    try:
        preview = desk.preview_revert(plan.plan_id)
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
    """What a person still has to do before the plan can be applied or reverted: its name is typed whole, or as it is cut."""
    names = (plain(seen.plan.name), shortened(seen.plan.name))
    asked = [
        ("say who you are", bool(who.strip())),
        ("tick that you apply a stale plan", allow or not seen.stale),
        ("type the plan's name as it is shown", plain(typed) in names),
    ]
    return [what for what, is_done in asked if not is_done]
