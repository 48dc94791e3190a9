"""Where the live routes are not what plans and chain say."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.model.stored_plan import LiveRoute

_FROZEN = ConfigDict(frozen=True, extra="forbid")
DriftKind = Literal["edited", "missing", "foreign"]


class DriftProblem(BaseModel):
    """Something that plan rows and chain do not agree on. `blocks` where what was signed for cannot be computed because of it."""

    model_config = _FROZEN

    seq: int | None = None
    plan_id: UUID | None = None
    message: str
    blocks: bool = False


class RouteDrift(BaseModel):
    """A live route that is not what was signed for.

    edited: `fields` differ (or the row is no route any more: `unreadable` says why). missing: it was signed for and is not live.
    foreign: it is live, and no entry put it there.
    """

    model_config = _FROZEN

    name: str
    kind: DriftKind
    fields: tuple[str, ...] = ()
    expected: LiveRoute | None = None
    found: LiveRoute | None = None
    unreadable: str | None = None


class Drift(BaseModel):
    """The live routes against what plan rows and chain come to. `chain` says how the chain itself verified."""

    model_config = _FROZEN

    entries: int
    live: int
    chain: str
    routes: tuple[RouteDrift, ...] = ()
    problems: tuple[DriftProblem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is as it was signed for."""
        return not self.routes and not self.problems

    @property
    def exit_code(self) -> int:
        """What a command that checks for drift exits with: 0, or 1."""
        return 0 if self.ok else 1
