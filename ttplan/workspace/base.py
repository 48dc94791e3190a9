"""What a workspace is made of, and what its verbs share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

from ttplan.apply import Clock, StoreChain, utc_now
from ttplan.audit.keys.signer import Signer
from ttplan.display.plan import Plan
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError
from ttplan.store.protocol import Snapshot, Store
from ttplan.store.transactions import run_in_transaction
from ttplan.workspace.keyring import Keyring


class Wiring:
    """A store with its key, clock and source of ids.

    `org_id` is the organisation that it is to belong to from utc_now on; `own_org` the only one that it can belong to, once something
    decides that.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        key: Signer | None = None,
        key_file: Path | None = None,
        makes_key: bool = False,
        passphrase: bytes | None = None,
        on_tip: Callable[[TipAnchor, datetime], None] | None = None,
        org_id: UUID | None = None,
        own_org: UUID | None = None,
        clock: Clock = utc_now,
        new_id: Callable[[], UUID] = uuid4,
        new_nonce: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        self.store = store
        self._name = name
        self._keys = Keyring(store, key, key_file, makes_key=makes_key, passphrase=passphrase)
        self._on_tip = on_tip
        self._clock = clock
        self._new_id = new_id
        self._own_org = own_org
        self._new_nonce = new_nonce
        if org_id is not None:
            with store.read() as snapshot:
                decided = snapshot.org_id()
            if decided != org_id:
                run_in_transaction(store, lambda tx: tx.set_org_id(org_id))

    def get(self, plan_id: UUID | str) -> Plan:
        """A stored plan by its id or the first digits of one, at least 4. Raises PlanNotFound, InputError where it is unclear."""
        from ttplan.operations.plans.stored_plans import find_plan

        return Plan(find_plan(self.store, plan_id))

    def _id(self, plan: Plan | UUID | str) -> UUID:
        return plan.plan_id if isinstance(plan, Plan) else self.get(plan).plan_id

    def _new_org(self) -> UUID:
        """The organisation of a store that has none, where nothing else says which."""
        return self._own_org or self._new_id()

    def _chain(self) -> StoreChain:
        return StoreChain(
            self.store,
            self._keys.signing(),
            clock=self._clock,
            new_id=self._new_id,
            on_tip=self._on_tip,
        )

    def _org(self, snapshot: Snapshot) -> UUID:
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(
                f"{self._name} has no requests to replay; import a log first, with `ttplan import` or import_logs"
            )
        return org_id

    def __repr__(self) -> str:
        return f"Workspace({self._name!r})"
