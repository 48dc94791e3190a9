"""What a backup holds, and how a store is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ttplan.model.audit import TipAnchor

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class HealthCheck(BaseModel):
    """One thing that was looked at, whether it is good, and what was found."""

    model_config = _FROZEN

    name: str
    ok: bool
    said: str


class Health(BaseModel):
    """How a store is, check by check."""

    model_config = _FROZEN

    checks: tuple[HealthCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every check is good."""
        return all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> int:
        """What a command that checks exits with: 0, or 1."""
        return 0 if self.ok else 1


class Backup(BaseModel):
    """A copy of a store: where, how large, the rows of each table as read back from it, and where its chain ends.

    `chain` says how the copy's chain verified, `drift` whether its live routes are not what was signed for: a copy is true to
    the store, also to one that is not well.
    """

    model_config = _FROZEN

    path: str
    size_bytes: int
    rows: dict[str, int]
    anchor: TipAnchor | None
    chain: str
    drift: bool
