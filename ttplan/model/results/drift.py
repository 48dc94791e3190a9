"""Where the live routes differ from plans and audit chain."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from ttplan.model.base import FrozenModel
from ttplan.model.stored_plan import LiveRoute

DriftKind = Literal["edited", "missing", "foreign"]


class DriftProblem(FrozenModel):
    """A contradiction between plan rows and audit chain.

    `blocks` if the signed routes cannot be computed because of it.
    """

    seq: int | None = None
    plan_id: UUID | None = None
    message: str
    blocks: bool = False


class RouteDrift(FrozenModel):
    """A live route that differs from the signed one.

    `edited`: `fields` differ, or the row is not a valid route (`unreadable` says why). `missing`:
    signed but not live. `foreign`: live, but no entry made it so.
    """

    name: str
    kind: DriftKind
    fields: tuple[str, ...] = ()
    expected: LiveRoute | None = None
    found: LiveRoute | None = None
    unreadable: str | None = None


class Drift(FrozenModel):
    """The live routes compared with plan rows and chain. `chain` is the chain's verdict."""

    entries: int
    live: int
    chain: str
    routes: tuple[RouteDrift, ...] = ()
    problems: tuple[DriftProblem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is as signed."""
        return not self.routes and not self.problems

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 or 1."""
        return 0 if self.ok else 1
