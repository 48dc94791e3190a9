"""The workspace methods that the panel calls; a test can pass its own implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from ttplan.display.plan import Plan
from ttplan.model.audit import Actor, AuditEntry, TipAnchor
from ttplan.model.stored_plan import StoredPlan

if TYPE_CHECKING:
    import pandas as pd

    from ttplan.audit.verify.report import ChainReport
    from ttplan.display.checks import PolicyCheckCard
    from ttplan.display.routes import PreviewCard


class Backend(Protocol):
    """The methods of `ttplan.Workspace` that the panel calls. All state is in the store behind
    them."""

    def list_runs(self) -> list[StoredPlan]:
        """All plans, oldest first."""

    def show(self, plan: UUID | str) -> Plan:
        """A stored plan as it is now."""

    def preview(self, plan: UUID) -> PreviewCard:
        """What applying a plan would change."""

    def preview_revert(self, plan: UUID) -> PreviewCard:
        """What reverting a plan would change."""

    def check_policy(self, plan: UUID) -> PolicyCheckCard:
        """Check a plan against the store's policy."""

    def apply(
        self, plan: UUID, *, actor: Actor | None = None, allow_stale: bool = False
    ) -> AuditEntry:
        """Make a plan live."""

    def revert(self, plan: UUID, *, actor: Actor | None = None) -> AuditEntry:
        """Put back what a plan replaced."""

    def verify(
        self,
        *,
        public_key: str | None = None,
        anchor: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> ChainReport:
        """Verify the chain."""

    def routes(self) -> pd.DataFrame:
        """The live routes, by precedence."""

    def entries(self, *, after: int = -1, limit: int = 1_000) -> pd.DataFrame:
        """The entries of the chain after a seq."""

    def anchor(self) -> TipAnchor | None:
        """The current end of the chain."""
