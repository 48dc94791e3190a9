"""What one side says of a route and another has no words for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Effect = Literal["is left out", "goes without it", "has it rounded", "is tried in another order"]


class Loss(BaseModel):
    """What one side says of a route and the other has no words for, why, and what becomes of the route all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str
    field: str
    reason: str
    effect: Effect

    def __str__(self) -> str:
        return f"route {self.route!r:.60}, {self.field}: {self.reason}; the route {self.effect}"
