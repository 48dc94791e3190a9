"""Verbs on the live routes: preview, apply, revert, and whether what is live is what was signed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from ttplan.apply import apply_plan, revert_plan
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.display.evidence import EntryCard
from ttplan.display.plan import Plan
from ttplan.model.audit import Actor, Anonymous, AuditEntry
from ttplan.model.policy import Override
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.display.routes import DriftCard, PreviewCard


class LiveVerbs(Wiring):
    """Make it so, take it back, and see whether it still is so."""

    def preview(self, plan: Plan | UUID | str) -> PreviewCard:
        """What applying a plan would change in the live routes: + new, ~ replaced, = same. Raises PlanNotFound."""
        from ttplan.display.routes import PreviewCard
        from ttplan.operations.plans.preview import preview

        return PreviewCard(preview(self.store, self._id(plan), self._clock()))

    def apply(
        self,
        plan: Plan | UUID | str,
        *,
        actor: Actor | None = None,
        allow_stale: bool = False,
        override: Override | None = None,
    ) -> AuditEntry:
        """Make a projected plan live: its status, its routes and a signed audit entry, in one transaction.

        `actor` is who does it (`ttplan.User(id)`, …), Anonymous where nobody is named. A plan that was computed against other
        live routes is applied only with `allow_stale`, one that does not meet the store's policy only with an `override`; the
        entry then says so. Raises PlanNotFound, InvalidState, StalePlan, PolicyBlocked, DriftError, StoreError, AuditError or
        KeyFileError; nothing is written then.
        """
        found = self.get(plan.plan_id if isinstance(plan, Plan) else plan)
        chain, by = self._chain(), actor or Anonymous()
        options: dict[str, Any] = {
            "allow_stale": allow_stale,
            "override": override,
            "clock": self._clock,
        }
        return EntryCard.of(apply_plan(self.store, chain, found.result, by, **options))

    def preview_revert(self, plan: Plan | UUID | str) -> PreviewCard:
        """What reverting a plan would change: - removed, ~ put back, = same. Raises what `revert` would; nothing is written."""
        from ttplan.display.routes import PreviewCard
        from ttplan.operations.plans.preview import preview_revert

        return PreviewCard(
            preview_revert(self.store, self._id(plan), self._keys.verifying_if_any(None))
        )

    def revert(self, plan: Plan | UUID | str, *, actor: Actor | None = None) -> AuditEntry:
        """Put back what an applied plan replaced: status, routes and a signed audit entry, in one transaction.

        Raises PlanNotFound, InvalidState, TouchedSince (it names the later plan to revert first), DriftError, StoreError,
        AuditError or KeyFileError; nothing is written then.
        """
        return EntryCard.of(
            revert_plan(
                self.store, self._chain(), self._id(plan), actor or Anonymous(), clock=self._clock
            )
        )

    def drift(self, *, public_key: str | VerifyingKey | None = None) -> DriftCard:
        """Check that the live routes are what plan rows and chain come to; each that is not is named.

        The chain is verified with `public_key`, else with the workspace's own key, where it has one. Raises StoreError.
        """
        from ttplan.display.routes import DriftCard
        from ttplan.operations.routes.drift import find_drift

        key = self._keys.verifying_if_any(public_key)
        with self.store.read() as snapshot:
            return DriftCard(
                find_drift(snapshot, snapshot.org_id(), key, own_key=public_key is None)
            )

    def repair(self, *, actor: Actor | None = None) -> AuditEntry | None:
        """Write back the live routes that were signed for, with an entry `routes.repaired`; None where nothing is to repair.

        Raises DriftError where it cannot be known what was signed for, StoreError, AuditError or KeyFileError; nothing is
        written then.
        """
        from ttplan.operations.routes.repair import repair_routes

        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
        by = actor or Anonymous()
        entry = (
            None if org_id is None else repair_routes(self._chain(), org_id, by, clock=self._clock)
        )
        return None if entry is None else EntryCard.of(entry)
