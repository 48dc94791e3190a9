"""Check the health of a store: a list of checks, for a person or for a timer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import is_continued_by
from ttplan.audit.verify.options import VerifyOptions
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, KeyFileError, StoreError
from ttplan.model.policy import Policy
from ttplan.model.results.drift import Drift
from ttplan.model.results.health import Health, HealthCheck
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.chain.verify import describe_edited_column, describe_foreign_entries
from ttplan.operations.context import Context
from ttplan.operations.routes.drift import find_drift
from ttplan.policy.check import policy_matches_chain
from ttplan.store.protocol import Snapshot, Store

_NOT_COMPARED = "not compared: the chain is broken, so what was signed is unknown"
MAX_PRICE_AGE = timedelta(days=30)
"""How old the prices of a live plan may be."""


def health(
    context: Context,
    *,
    public_key: str | VerifyingKey | None = None,
    price_age: timedelta = MAX_PRICE_AGE,
    passes_through: Iterable[TipAnchor] = (),
    org_id: str | UUID | None = None,
) -> Health:
    """Check the store: schema, key, chain, plans, routes, orphans, prices, costs and policy.

    Nothing is written.

    Parameters
    ----------
    public_key : str or VerifyingKey, optional
        The key to verify the chain with; the workspace's own if left out.
    price_age : timedelta, default 30 days
        How old the prices of a live plan may be.
    passes_through : iterable of TipAnchor, optional
        Anchors that the chain must contain.
    org_id : UUID or str, optional
        The organisation that the store must belong to.

    Returns
    -------
    HealthCard
        Each check with its result.

    Raises
    ------
    StoreError
        If the store cannot be opened; the error says why.

    Examples
    --------
    >>> ws.health().result.ok
    True
    """
    key = None if public_key is None else context.keys.verifying(public_key)[0]
    options = VerifyOptions.parse(passes_through=passes_through, org_id=org_id)
    return check_health(
        context.store,
        context.keys.existing,
        key,
        at=context.clock(),
        price_age=price_age,
        options=options,
        old_keys=context.keys.former_files(),
    )


def check_health(
    store: Store,
    signing_key: Callable[[], Signer],
    public_key: VerifyingKey | None,
    *,
    at: datetime,
    price_age: timedelta = MAX_PRICE_AGE,
    options: VerifyOptions | None = None,
    old_keys: Sequence[Path] = (),
) -> Health:
    """Run all checks. `signing_key` returns the key that signs, or raises KeyFileError."""
    with store.read() as snapshot:
        key, key_check = _key(snapshot, signing_key)
        if old_keys:
            files = ", ".join(map(str, old_keys))
            note = f"{key_check.said}; former keys can still be read: {files}; move them offline"
            key_check = key_check.model_copy(update={"said": note})
        verifying = public_key or (None if key is None else key.public_key)
        if verifying is None and options is not None and options.passes_through:
            raise KeyFileError(f"anchors cannot be compared without a key: {key_check.said}")
        drift = find_drift(
            snapshot,
            snapshot.org_id(),
            verifying,
            own_key=public_key is None,
            options=options,
        )
        chain = _chain(snapshot, drift)
        problems = [problem.message for problem in drift.problems]
        blocked = next((problem for problem in problems if problem not in chain.said), None)
        return Health(
            checks=(
                HealthCheck(
                    name="schema", ok=True, said="the current one"
                ),  # or it would not have been opened
                key_check,
                chain,
                _plans(drift, blocked),
                _routes(drift),
                _orphans(store, snapshot),
                _prices(snapshot, at, price_age),
                _costs(snapshot, at),
                _policy(snapshot),
            )
        )


def _key(
    snapshot: Snapshot, signing_key: Callable[[], Signer]
) -> tuple[Signer | None, HealthCheck]:
    """The signing key, and whether it is the chain's current one."""
    try:
        key = signing_key()
    except KeyFileError as error:
        return None, HealthCheck(name="key", ok=False, said=str(error))
    org_id = snapshot.org_id()
    tip = None if org_id is None else snapshot.tip(org_id)
    if org_id is None or tip is None:
        return key, HealthCheck(name="key", ok=True, said="present; nothing is signed yet")
    last = next(iter(snapshot.entries(org_id, since=tip.seq)))
    if not is_continued_by(last, key.public_key):
        message = (
            f"present, but the chain's last entry ({tip.seq}) was not signed with it; load the "
            "chain's current key"
        )
        return key, HealthCheck(name="key", ok=False, said=message)
    return key, HealthCheck(name="key", ok=True, said="present; it signs the chain's next entry")


def _chain(snapshot: Snapshot, drift: Drift) -> HealthCheck:
    """Whether the chain is good, and the columns beside its entries say what they say."""
    length = "1 entry" if drift.entries == 1 else f"{drift.entries:,} entries"
    org_id = snapshot.org_id()
    if drift.chain == "broken":
        reason = drift.problems[0].message if drift.problems else "see `ttplan verify`"
        return HealthCheck(name="chain", ok=False, said=f"broken; {reason}")
    edited = [] if org_id is None else snapshot.edited_columns(org_id)
    foreign = describe_foreign_entries(snapshot.foreign_entries(org_id))
    problems = [*map(describe_edited_column, edited), *([] if foreign is None else [foreign])]
    said = "; ".join([length, drift.chain, *problems])
    return HealthCheck(name="chain", ok=not problems, said=said)


def _plans(drift: Drift, problem: str | None) -> HealthCheck:
    """Whether the plan rows say what the chain says."""
    if drift.chain == "broken":
        return HealthCheck(name="plans", ok=False, said=_NOT_COMPARED)
    return HealthCheck(name="plans", ok=problem is None, said=problem or "as the chain says")


def _routes(drift: Drift) -> HealthCheck:
    """Whether the live routes are the signed ones."""
    if drift.chain == "broken":
        return HealthCheck(name="routes", ok=False, said=_NOT_COMPARED)
    routes = ", ".join(f"{route.name!r:.60} {route.kind}" for route in drift.routes)
    return HealthCheck(
        name="routes", ok=not drift.routes, said=routes or f"{drift.live:,} live, as signed"
    )


def _orphans(store: Store, snapshot: Snapshot) -> HealthCheck:
    """Live routes of plans without a row, and drafts that a killed process left."""
    from ttplan.store.duckdb.files import leftover_drafts
    from ttplan.store.duckdb.store import DuckDBStore

    orphans = [*_ownerless(snapshot)]
    if isinstance(store, DuckDBStore):
        orphans += [
            f"{path} was left by a process that was killed; it can be deleted"
            for path in leftover_drafts(store.path)
        ]
    return HealthCheck(name="orphans", ok=not orphans, said="; ".join(orphans) or "none")


def _ownerless(snapshot: Snapshot) -> Iterator[str]:
    org_id = snapshot.org_id()
    if org_id is None:
        return
    known = snapshot.statuses(org_id)
    for live in _live(snapshot):
        if live.plan_id not in known:
            yield (
                f"the live route {live.route.name!r:.60} belongs to plan {live.plan_id}, which has "
                "no row"
            )


def _prices(snapshot: Snapshot, at: datetime, price_age: timedelta) -> HealthCheck:
    """How old the prices of the live plans are: a plan uses those of the time it is made."""
    org_id = snapshot.org_id()
    known = {} if org_id is None else snapshot.statuses(org_id)
    ages = {}
    for plan_id in {live.plan_id for live in _live(snapshot)} & known.keys():
        try:
            run = snapshot.plan(plan_id)
        except StoreError:
            continue  # the check of plans reports it
        if run is not None:
            ages[run.name] = at - run.created_at
    if not ages:
        return HealthCheck(name="prices", ok=True, said="no routes are live")
    name = max(ages, key=lambda plan: (ages[plan], plan))
    days = ages[name].days
    age = f"those of plan {name!r:.60} are {days} {'day' if days == 1 else 'days'} old"
    ok = ages[name] <= price_age
    return HealthCheck(
        name="prices",
        ok=ok,
        said=age if ok else f"{age}, more than {price_age.days}; plan again with today's",
    )


def _costs(snapshot: Snapshot, at: datetime) -> HealthCheck:
    """Whether rerouted requests still cost what the live plans projected.

    The check runs on a timer, so it fails by the confidence sequence, which holds at all looks.
    """
    from ttplan.operations.plans.reconcile import compare_with_log
    from ttplan.operations.plans.reconciled_figures import MIN_REQUESTS

    results, ok = [], True
    for plan_id in sorted({live.plan_id for live in _live(snapshot)}):
        try:
            run = snapshot.plan(plan_id)
            if run is None or run.status != "applied":
                continue  # the checks of orphans and plans report it
            reconciliation = compare_with_log(snapshot, run, at)
        except StoreError:
            continue
        except InputError:  # nothing is logged yet, or the plan's requests are not in the store
            continue
        error = reconciliation.error
        if reconciliation.requests < MIN_REQUESTS or error is None or error.alarm is None:
            continue
        pct = error.usd / error.expected_usd * 100 if error.expected_usd else 0.0
        ok = ok and not error.alarm
        verdict = (
            "beyond chance at every look; see `ttplan reconcile`" if error.alarm else "as projected"
        )
        results.append(
            f"plan {run.name!r:.60}: its error is {pct:+.1f} % of the expected cost, {verdict}"
        )
    return HealthCheck(
        name="costs",
        ok=ok,
        said="; ".join(results)
        or f"nothing to compare: no live plan has {MIN_REQUESTS} requests since",
    )


def _policy(snapshot: Snapshot) -> HealthCheck:
    """Whether the stored policy is the signed one."""
    org_id = snapshot.org_id()
    try:
        policy = snapshot.policy()
    except StoreError as error:
        return HealthCheck(name="policy", ok=False, said=str(error))
    ok = org_id is None or policy_matches_chain(snapshot, org_id, policy)
    text = "none" if policy is None else _policy_text(policy)
    return HealthCheck(
        name="policy",
        ok=ok,
        said=text if ok else f"{text}, which is not the signed one; set it again",
    )


def _policy_text(policy: Policy) -> str:
    rules = f"{len(policy.rules)} {'rule' if len(policy.rules) == 1 else 'rules'}"
    return rules if policy.approvals is None else f"{rules}, and approvals"


def _live(snapshot: Snapshot) -> Iterator[LiveRoute]:
    org_id = snapshot.org_id()
    rows = [] if org_id is None else snapshot.live_route_rows(org_id)
    return (row for row in rows if isinstance(row, LiveRoute))
