"""What applying a plan, or reverting it, would change in the live routes."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.model.audit import Hex64
from ttplan.model.stored_plan import LiveRoute, Status

_FROZEN = ConfigDict(frozen=True, extra="forbid")
ChangeKind = Literal["new", "replaced", "renamed", "same", "removed"]


class FieldChange(BaseModel):
    """One field of a route, such as `then.target_model`, before and after."""

    model_config = _FROZEN

    field: str
    before: Any
    after: Any


class RouteChange(BaseModel):
    """What becomes of one route: `before` is live now, `after` would be. `fields` are those that differ in content.

    same: the content stays; which plan the route belongs to may change. renamed: `before` is live under another name, which has
    the same id; `name` is the new one.
    """

    model_config = _FROZEN

    name: str
    kind: ChangeKind
    before: LiveRoute | None
    after: LiveRoute | None
    fields: tuple[FieldChange, ...] = ()


class Preview(BaseModel):
    """What would change. `untouched` counts the other live routes; `stale` says what changed since the plan was computed.

    `computed_against` and `live_now` are digests of the live routes then and now (None where the row does not remember).
    """

    model_config = _FROZEN

    action: Literal["apply", "revert"]
    plan_id: UUID
    plan_name: str
    status: Status
    changes: tuple[RouteChange, ...]
    untouched: int
    stale: tuple[StaleRoute, ...] = ()
    computed_against: Hex64 | None = None
    live_now: Hex64


StaleRouteKind = Literal["added", "replaced", "renamed", "removed", "put back", "renamed back"]
_BY_REVERTING = ("removed", "put back", "renamed back")


class StaleRoute(BaseModel):
    """A live route that is not what a plan saw: how it changed, and by which plan.

    Applying a plan adds, replaces and renames, reverting one removes, puts back and renames back; `to` is the other name then.
    `plan_id` is None where no plan did it: somebody wrote to the store past ttplan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    how: StaleRouteKind
    plan_id: UUID | None
    to: str | None = None

    def __str__(self) -> str:
        doing = "reverting" if self.how in _BY_REVERTING else "applying"
        how = self.how if self.to is None else f"{self.how} to {self.to!r:.60}"
        by = (
            "not by a plan (see `ttplan drift`)"
            if self.plan_id is None
            else f"by {doing} plan {self.plan_id}"
        )
        return f"route {self.name!r:.60} was {how} {by}"
