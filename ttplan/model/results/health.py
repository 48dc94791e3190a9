"""The health of a store, and the content of a backup."""

from __future__ import annotations

from ttplan.model.audit import TipAnchor
from ttplan.model.base import FrozenModel


class HealthCheck(FrozenModel):
    """One check of a store, and what it found."""

    name: str
    ok: bool
    said: str


class Health(FrozenModel):
    """The health of a store, check by check."""

    checks: tuple[HealthCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 or 1."""
        return 0 if self.ok else 1


class Backup(FrozenModel):
    """A copy of a store: its path, size, rows per table as read back, and the end of its chain.

    `chain` is the verdict on the copy's chain. `drift` says whether its live routes differ from
    the signed ones: a copy is faithful to a damaged store, too.
    """

    path: str
    size_bytes: int
    rows: dict[str, int]
    anchor: TipAnchor | None
    chain: str
    drift: bool
