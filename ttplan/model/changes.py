"""What applying a plan, or reverting it, would change in the live routes."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.model.audit import Hex64
from ttplan.model.plan_run import LiveRoute, Status
from ttplan.model.since import RouteSince

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
    stale: tuple[RouteSince, ...] = ()
    computed_against: Hex64 | None = None
    live_now: Hex64
