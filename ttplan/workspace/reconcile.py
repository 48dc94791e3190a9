"""Verbs that hold plans against what happened."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ttplan.display.plan import Plan
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.display.reconciliation import ReconciliationCard, TrackRecordCard


class RecordVerbs(Wiring):
    """Projected against actual."""

    def reconcile(
        self, plan: Plan | UUID | str, *, until: datetime | None = None
    ) -> ReconciliationCard:
        """Hold an applied plan against the requests that were logged while its routes were live, and keep what was found.

        Raises PlanNotFound, InvalidState where it was not applied, InputError where there is nothing to compare, StoreError.
        """
        from ttplan.display.reconciliation import ReconciliationCard
        from ttplan.operations.plans.reconcile import reconcile

        return ReconciliationCard(reconcile(self.store, self._id(plan), self._clock(), until=until))

    def track_record(self) -> TrackRecordCard:
        """How the plans did that were reconciled, each by its last reconciliation: the trust in the next one."""
        from ttplan.display.reconciliation import TrackRecordCard
        from ttplan.operations.plans.reconcile import read_track_record

        return TrackRecordCard(read_track_record(self.store))
