"""How a live route is no longer what a plan saw when it was computed."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

SinceKind = Literal["added", "replaced", "renamed", "removed", "put back", "renamed back"]
_BY_REVERTING = ("removed", "put back", "renamed back")


class RouteSince(BaseModel):
    """A live route that is not what a plan saw: how it changed, and by which plan.

    Applying a plan adds, replaces and renames, reverting one removes, puts back and renames back; `to` is the other name then.
    `plan_id` is None where no plan did it: somebody wrote to the store past ttplan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    how: SinceKind
    plan_id: UUID | None
    to: str | None = None

    def __str__(self) -> str:
        doing = "reverting" if self.how in _BY_REVERTING else "applying"
        how = self.how if self.to is None else f"{self.how} to {self.to!r:.60}"
        by = "not by a plan (see `ttplan drift`)" if self.plan_id is None else f"by {doing} plan {self.plan_id}"
        return f"route {self.name!r:.60} was {how} {by}"
