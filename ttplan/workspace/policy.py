"""Verbs between a plan and its apply: the policy, approvals, and taking over what a gateway follows already."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from ttplan.audit.keys.signer import Signer
from ttplan.display.evidence import EntryCard
from ttplan.display.plan import Plan
from ttplan.model.audit import Actor, Anonymous, AuditEntry
from ttplan.model.errors import InputError
from ttplan.model.gateway import Gateway
from ttplan.model.policy import Policy
from ttplan.util.paths import PathLike
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.display.checks import PolicyCheckCard


class PolicyVerbs(Wiring):
    """Held to rules, and approved."""

    def set_policy(
        self, policy: PathLike | Policy | None, *, actor: Actor | None = None
    ) -> AuditEntry:
        """Hold every plan to a policy (a YAML file) from now on, or, with None, to none; the chain is told of it.

        Raises InputError where it is no policy, StoreError, AuditError or KeyFileError; nothing is written then.
        """
        from ttplan.operations.plans.policy import set_policy
        from ttplan.policy.rules import read_policy

        found = policy if policy is None or isinstance(policy, Policy) else read_policy(policy)
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(
                f"{self._name} belongs to no organisation yet; import a log first, with `ttplan import` or import_logs"
            )
        return EntryCard.of(
            set_policy(self._chain(), org_id, found, actor or Anonymous(), clock=self._clock)
        )

    def check_policy(self, plan: Plan | UUID | str) -> PolicyCheckCard:
        """Hold a plan to the store's policy, as applying it would. Raises PlanNotFound, DriftError, StoreError."""
        from ttplan.display.checks import PolicyCheckCard
        from ttplan.operations.plans.policy import check_plan

        return PolicyCheckCard(
            check_plan(self.store, self._id(plan), self._keys.verifying_if_any(None))
        )

    def approve(
        self, plan: Plan | UUID | str, *, actor: Actor, key: Signer | None = None
    ) -> AuditEntry:
        """Approve a projected plan as it is now, `actor` being a person; `key` is the approver's own, which then signs, too.

        Raises InputError, PlanNotFound, InvalidState, StoreError, AuditError or KeyFileError; nothing is written then.
        """
        from ttplan.operations.plans.policy import approve_plan

        return EntryCard.of(
            approve_plan(self._chain(), self._id(plan), actor, key=key, clock=self._clock)
        )

    def adopt(
        self,
        path: PathLike,
        gateway: Gateway | None = None,
        *,
        name: str = "as the gateway has it",
        allow_loss: bool = False,
        author: Actor | None = None,
    ) -> Plan:
        """Keep the routes that a gateway follows already as a first plan; applying it changes nothing there.

        `path` is a LiteLLM config or TokenTrimmer routes. Raises InputError, Unsayable (unless `allow_loss`) and StoreError.
        """
        from ttplan.operations.plans.stored_plans import Made
        from ttplan.operations.routes.adopt import adopt_routes

        made = Made(name, self._clock(), self._new_nonce(), author)
        ids = {"new_id": self._new_id, "new_org": self._new_org}
        return Plan(
            adopt_routes(self.store, path, gateway, lambda: made, **ids, allow_loss=allow_loss)
        )
