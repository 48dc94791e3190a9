"""How a store is: a list of checks for a person to read, or for a timer to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import is_continued_by
from ttplan.model.errors import InputError, KeyFileError, StoreError
from ttplan.model.policy import Policy
from ttplan.model.results.health import Health, HealthCheck
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.routes.drift import find_drift
from ttplan.policy.check import policy_matches_chain
from ttplan.store.duckdb.files import leftover_drafts
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.protocol import Snapshot, Store

PRICE_AGE = timedelta(days=30)
"""How old the prices of a plan whose routes are live may be."""


def check_health(
    store: Store,
    signing_key: Callable[[], Signer],
    public_key: VerifyingKey | None,
    *,
    at: datetime,
    price_age: timedelta = PRICE_AGE,
) -> Health:
    """Look at schema, key, chain, drift, orphans, the age of prices and the cost since.

    `public_key` is one from elsewhere, for the chain.

    `signing_key` gives the key that signs, or raises KeyFileError. Nothing is written. Raises StoreError where the store cannot
    be opened, which says why.
    """
    with store.read() as snapshot:
        key, said = _key(snapshot, signing_key)
        verifying = public_key or (None if key is None else key.public_key)
        drift = find_drift(snapshot, snapshot.org_id(), verifying, own_key=public_key is None)
        blocked = next((problem.message for problem in drift.problems), None)
        of_chain = "1 entry" if drift.entries == 1 else f"{drift.entries:,} entries"
        routes = ", ".join(f"{one.name!r:.60} {one.kind}" for one in drift.routes)
        return Health(
            checks=(
                HealthCheck(
                    name="schema", ok=True, said="the current one"
                ),  # or it would not have been opened
                said,
                HealthCheck(
                    name="chain", ok=drift.chain != "broken", said=f"{of_chain}; {drift.chain}"
                ),
                HealthCheck(name="plans", ok=blocked is None, said=blocked or "as the chain says"),
                HealthCheck(
                    name="routes",
                    ok=not drift.routes,
                    said=routes or f"{drift.live:,} live, as was signed for",
                ),
                _orphans(store, snapshot),
                _prices(snapshot, at, price_age),
                _costs(snapshot, at),
                _policy(snapshot),
            )
        )


def _key(
    snapshot: Snapshot, signing_key: Callable[[], Signer]
) -> tuple[Signer | None, HealthCheck]:
    """The key, and whether it is the one that the chain goes on with."""
    try:
        key = signing_key()
    except KeyFileError as error:
        return None, HealthCheck(name="key", ok=False, said=str(error))
    org_id = snapshot.org_id()
    tip = None if org_id is None else snapshot.tip(org_id)
    if org_id is None or tip is None:
        return key, HealthCheck(name="key", ok=True, said="there, and nothing is signed yet")
    last = next(iter(snapshot.entries(org_id, since=tip.seq)))
    if not is_continued_by(last, key.public_key):
        said = f"there, but the chain's last entry ({tip.seq}) was not signed with it; load the key that the chain goes on with"
        return key, HealthCheck(name="key", ok=False, said=said)
    return key, HealthCheck(
        name="key", ok=True, said="there, and the one that the chain goes on with"
    )


def _orphans(store: Store, snapshot: Snapshot) -> HealthCheck:
    """What belongs to nothing: live routes of plans that have no row, and drafts that a process left when it was killed."""
    found = [*_ownerless(snapshot)]
    if isinstance(store, DuckDBStore):
        found += [
            f"{path} was left by a process that was killed; it can be deleted"
            for path in leftover_drafts(store.path)
        ]
    return HealthCheck(name="orphans", ok=not found, said="; ".join(found) or "none")


def _ownerless(snapshot: Snapshot) -> Iterator[str]:
    org_id = snapshot.org_id()
    if org_id is None:
        return
    known = snapshot.statuses(org_id)
    for live in _live(snapshot):
        if live.plan_id not in known:
            yield f"the live route {live.route.name!r:.60} belongs to plan {live.plan_id}, which has no row"


def _prices(snapshot: Snapshot, at: datetime, price_age: timedelta) -> HealthCheck:
    """How old the prices are that live routes were planned with: a plan takes those of the moment at which it is computed."""
    org_id = snapshot.org_id()
    known = {} if org_id is None else snapshot.statuses(org_id)
    ages = {}
    for plan_id in {live.plan_id for live in _live(snapshot)} & known.keys():
        try:
            run = snapshot.plan(plan_id)
        except StoreError:
            continue  # the check of plans says so
        if run is not None:
            ages[run.name] = at - run.created_at
    if not ages:
        return HealthCheck(name="prices", ok=True, said="no routes are live")
    name = max(ages, key=lambda one: (ages[one], one))
    days = ages[name].days
    aged = f"those of plan {name!r:.60} are {days} {'day' if days == 1 else 'days'} old"
    ok = ages[name] <= price_age
    return HealthCheck(
        name="prices",
        ok=ok,
        said=aged if ok else f"{aged}, more than {price_age.days}; plan again with today's",
    )


def _costs(snapshot: Snapshot, at: datetime) -> HealthCheck:
    """Whether what requests cost since is still what the plans projected whose routes are live."""
    from ttplan.operations.plans.reconcile import FEW, compare

    said, ok = [], True
    for plan_id in sorted({live.plan_id for live in _live(snapshot)}):
        try:
            run = snapshot.plan(plan_id)
            if run is None or run.status != "applied":
                continue  # the checks of orphans and plans say so
            found = compare(snapshot, run, at)
        except StoreError:
            continue
        except InputError:  # nothing is logged yet, or what the plan was computed from is elsewhere
            continue
        figure = found.of("cost_per_request_usd")
        if found.requests < FEW or figure.consistent is None:
            continue
        error = (
            (figure.actual - figure.expected) / figure.expected * 100 if figure.expected else 0.0
        )
        ok = ok and figure.consistent
        where = (
            "as projected"
            if figure.consistent
            else "not what was projected; see `ttplan reconcile`"
        )
        said.append(
            f"plan {run.name!r:.60}: {error:+.1f} % of the expected cost a request, {where}"
        )
    return HealthCheck(
        name="costs",
        ok=ok,
        said="; ".join(said) or f"nothing to compare: no live plan has {FEW} requests since",
    )


def _policy(snapshot: Snapshot) -> HealthCheck:
    """Whether plans are held to the policy that was signed for, or to none where none was."""
    org_id = snapshot.org_id()
    try:
        policy = snapshot.policy()
    except StoreError as error:
        return HealthCheck(name="policy", ok=False, said=str(error))
    ok = org_id is None or policy_matches_chain(snapshot, org_id, policy)
    said = "none" if policy is None else _told(policy)
    return HealthCheck(
        name="policy",
        ok=ok,
        said=said if ok else f"{said}, which is not what was signed for; set it anew",
    )


def _told(policy: Policy) -> str:
    rules = f"{len(policy.rules)} {'rule' if len(policy.rules) == 1 else 'rules'}"
    return rules if policy.approvals is None else f"{rules}, and approvals"


def _live(snapshot: Snapshot) -> Iterator[LiveRoute]:
    org_id = snapshot.org_id()
    rows = [] if org_id is None else snapshot.live_route_rows(org_id)
    return (row for row in rows if isinstance(row, LiveRoute))
