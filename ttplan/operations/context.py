"""What every operation receives from the workspace that it is called on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from ttplan.apply import Clock, StoreChain, utc_now
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, PlanNotFound
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.keyring import Keyring
from ttplan.store.chain import KeptAnchors
from ttplan.store.protocol import Snapshot, Store


class HasPlanId(Protocol):
    """Anything that belongs to one plan: a `Plan`, a `StoredPlan`, a `PlanResult`."""

    @property
    def plan_id(self) -> UUID:
        """The plan's id."""


PlanRef = HasPlanId | UUID | str
"""A plan, its id, the first digits of its id (at least 4), or its name."""
MAX_LISTED = 5
"""How many plans an error lists."""


def new_nonce() -> str:
    """32 random bytes as hex digits, which blind a plan's routes in the chain."""
    return secrets.token_hex(32)


@dataclass(frozen=True)
class Context:
    """A store with its keys, clock and sources of ids; tests and notebooks pin the last three.

    `name` is what error messages call the store. `own_org` is the only organisation that the store
    can belong to, if that is decided elsewhere. `on_tip` receives each new tip of the chain,
    which must have the `kept_anchors` before an entry is appended.
    """

    store: Store
    name: str
    keys: Keyring
    clock: Clock = utc_now
    new_id: Callable[[], UUID] = uuid4
    new_nonce: Callable[[], str] = new_nonce
    on_tip: Callable[[TipAnchor, datetime], None] | None = None
    kept_anchors: KeptAnchors | None = None
    own_org: UUID | None = None

    def chain(self) -> StoreChain:
        """The store's audit chain, to append to. Raises KeyFileError if there is no signing key."""
        return StoreChain(
            self.store,
            self.keys.signing(),
            clock=self.clock,
            new_id=self.new_id,
            on_tip=self.on_tip,
            kept_anchors=self.kept_anchors,
        )

    def new_org(self) -> UUID:
        """The organisation for a store that has none, if its log does not name one either."""
        return self.own_org or self.new_id()

    def org_id(self) -> UUID | None:
        """The organisation that the store belongs to, if that is decided."""
        with self.store.read() as snapshot:
            return snapshot.org_id()

    def require_org(self, snapshot: Snapshot) -> UUID:
        """The organisation that the store belongs to. Raises InputError if there is none yet."""
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(
                f"{self.name} has no requests to replay; import a log first, with `ttplan import` "
                "or import_logs"
            )
        return org_id

    def plan_id(self, plan: PlanRef) -> UUID:
        """The id of a stored plan. Raises PlanNotFound; InputError if several plans match."""
        if isinstance(plan, UUID | str):
            return find_plan(self.store, plan).plan_id
        return plan.plan_id


def find_plan(store: Store, plan: PlanRef) -> StoredPlan:
    """Find a stored plan by its id, the first digits of its id, or its name.

    Raises PlanNotFound if no plan matches and InputError if several do.
    """
    text = str(plan if isinstance(plan, UUID | str) else plan.plan_id)
    with store.read() as snapshot:
        run = _plan_by_id(snapshot, text)
        if run is not None:
            return run
        org_id = snapshot.org_id()
        matches = [] if org_id is None else snapshot.find_plan_ids(org_id, text)
        if len(matches) > 1:
            raise InputError(
                f"{len(matches)} plans have the name {text!r:.60} or an id that begins with it: "
                f"{_list_ids(matches)}; give one of these ids"
            )
        run = snapshot.plan(matches[0]) if matches else None
    if run is None:
        raise PlanNotFound(text)
    return run


def require_plan(snapshot: Snapshot, plan_id: UUID) -> StoredPlan:
    """A stored plan. Raises PlanNotFound."""
    run = snapshot.plan(plan_id)
    if run is None:
        raise PlanNotFound(plan_id)
    return run


def _plan_by_id(snapshot: Snapshot, text: str) -> StoredPlan | None:
    if len(text) != len(str(UUID(int=0))):
        return None
    try:
        return snapshot.plan(UUID(text))
    except ValueError:
        return None


def _list_ids(plan_ids: Sequence[UUID]) -> str:
    more = len(plan_ids) - MAX_LISTED
    listed = ", ".join(map(str, plan_ids[:MAX_LISTED]))
    return f"{listed} and {more} more" if more > 0 else listed
