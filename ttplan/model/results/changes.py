"""What applying or reverting a plan would change in the live routes."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from ttplan.model.base import FrozenModel, Hex64
from ttplan.model.stored_plan import LiveRoute, Status

ChangeKind = Literal["new", "replaced", "renamed", "same", "removed"]
StaleRouteKind = Literal["added", "replaced", "renamed", "removed", "put back", "renamed back"]
_REVERTING = ("removed", "put back", "renamed back")


class FieldChange(FrozenModel):
    """One field of a route, such as `then.target_model`, before and after."""

    field: str
    before: Any
    after: Any


class RouteChange(FrozenModel):
    """The change of one route from `before` (live now) to `after`.

    `fields` are those whose content differs. `same`: the content stays, but the route may belong
    to another plan. `renamed`: the same id is live under another name; `name` is the new one.
    """

    name: str
    kind: ChangeKind
    before: LiveRoute | None
    after: LiveRoute | None
    fields: tuple[FieldChange, ...] = ()


class StaleRoute(FrozenModel):
    """A live route that changed since a plan was computed: how, and by which plan.

    Applying a plan adds, replaces and renames; reverting one removes, puts back and renames back.
    `to` is the other name of a renamed route. `plan_id` is None if no plan made the change, but a
    write to the store outside ttplan.
    """

    name: str
    how: StaleRouteKind
    plan_id: UUID | None
    to: str | None = None

    def __str__(self) -> str:
        how = self.how if self.to is None else f"{self.how} to {self.to!r:.60}"
        if self.plan_id is None:
            return f"route {self.name!r:.60} was {how} not by a plan (see `ttplan drift`)"
        action = "reverting" if self.how in _REVERTING else "applying"
        return f"route {self.name!r:.60} was {how} by {action} plan {self.plan_id}"


class Preview(FrozenModel):
    """What would change. `untouched` counts the other live routes.

    `stale` lists what changed since the plan was computed. `computed_against` and `live_now` are
    digests of the live routes at that time (None in old rows) and now.
    """

    action: Literal["apply", "revert"]
    plan_id: UUID
    plan_name: str
    status: Status
    changes: tuple[RouteChange, ...]
    untouched: int
    stale: tuple[StaleRoute, ...] = ()
    computed_against: Hex64 | None = None
    live_now: Hex64
