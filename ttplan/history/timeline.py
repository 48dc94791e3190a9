"""Computes the history of live routes from plan rows and the chain, so that anyone can reproduce
it.

Pure: entries and plans come in, steps come out. The stored live routes are not read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import blake3
import orjson

from ttplan.audit.blinding import BlindingUse, commit, derive_blinding, find_blinding
from ttplan.audit.canonical import canonical_json
from ttplan.model.errors import StoreError
from ttplan.model.results.drift import DriftProblem
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, SeenRoute, Status, StoredPlan, find_previous_names
from ttplan.store.protocol import Snapshot

APPLIED, REVERTED, REPAIRED = "plan.applied", "plan.reverted", "routes.repaired"
RENAMED = "renamed"
"""In the payload of `plan.applied`: how many routes were renamed. Without it, routes were replaced
by name only."""
PlanLookup = Callable[[UUID], StoredPlan | None]
"""Returns a plan, or None if there is no such plan; raises StoreError if its row is corrupt."""


def routes_commitment(blinding: str, routes: Iterable[ProposedRoute]) -> str:
    """`BLAKE3(blinding ‖ canonical JSON of the routes)`, hex: the chain's commitment to routes
    that it does not show."""
    return commit(blinding, _listed(routes))


def applied_commitment(nonce: str, routes: Iterable[ProposedRoute]) -> str:
    """The commitment of `plan.applied` to the plan's routes; `nonce` is the plan's."""
    return routes_commitment(derive_blinding(nonce, "routes applied"), routes)


def restored_commitment(nonce: str, restored: Iterable[LiveRoute]) -> str:
    """The commitment of `plan.reverted` to the routes that are restored, by name."""
    return routes_commitment(derive_blinding(nonce, "routes restored"), _by_name(restored))


def _by_name(live: Iterable[LiveRoute]) -> list[ProposedRoute]:
    return sorted((row.route for row in live), key=lambda route: route.name)


def _listed(routes: Iterable[ProposedRoute]) -> list[dict[str, Any]]:
    return [route.model_dump(mode="json") for route in routes]


def _commits(
    payload: Mapping[str, Any], run: StoredPlan, use: BlindingUse, routes: Iterable[ProposedRoute]
) -> bool:
    """Whether an entry commits to these routes."""
    stated = payload.get("routes_commitment")
    return find_blinding(run.nonce, use, _listed(routes), stated) is not None


def seen_routes(live: Iterable[LiveRoute]) -> tuple[SeenRoute, ...]:
    """What a plan records of the routes that are live when it is computed, by name."""
    return tuple(
        SeenRoute(name=row.route.name, plan_id=row.plan_id, digest=_digest(row.route))
        for row in sorted(live, key=lambda row: row.route.name)
    )


def live_digest(routes: Iterable[SeenRoute]) -> str:
    """One digest (64 hex digits) of the names and content of live routes, regardless of their
    plans."""
    listed = sorted([route.name, route.digest] for route in routes)
    return blake3.blake3(canonical_json(listed)).hexdigest()


def _digest(route: ProposedRoute) -> str:
    return blake3.blake3(canonical_json(route.model_dump(mode="json"))).hexdigest()


class HistoryStep(NamedTuple):
    """One entry that changed the live routes.

    `changes` has the route that is live afterwards by name, or None. `renamed` has previous names
    by new ones.
    """

    seq: int
    at: datetime
    event: str
    plan_id: UUID
    plan_name: str
    changes: Mapping[str, LiveRoute | None]
    renamed: Mapping[str, str]


@dataclass
class History:
    """The steps in the chain's order, and their result.

    `live` has the live routes by name. `before` has, by plan, the routes that were live under the
    names that it changed when it was applied. `unknown` are names whose live route is unknown,
    because a plan's row is not what was signed; `problems` has the reasons. `applied` has the step
    of each plan that was applied, in order.
    """

    steps: list[HistoryStep] = field(default_factory=list)
    live: dict[str, LiveRoute] = field(default_factory=dict)
    before: dict[UUID, dict[str, LiveRoute | None]] = field(default_factory=dict)
    applied: dict[UUID, HistoryStep] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    problems: list[DriftProblem] = field(default_factory=list)
    statuses: dict[UUID, Status] = field(default_factory=dict)
    entries: int = 0

    def at(self, timestamp: datetime) -> dict[str, LiveRoute]:
        """The routes that were live at a time, by name."""
        routes: dict[str, LiveRoute] = {}
        for step in self.steps:
            if step.at > timestamp:
                break
            for name, live in step.changes.items():
                _put(routes, name, live)
        return routes

    def superseded_by(self, plan_id: UUID) -> tuple[HistoryStep, list[str]] | None:
        """The step of the last later applied plan that changed a name or a route of this one,
        with those names; or None."""
        if plan_id not in self.applied:
            return None
        own = self.applied[plan_id].changes
        # A route that the plan renamed gets its new name here.
        named = [*self.before[plan_id].items(), *own.items()]
        names = {live.route.id: name for name, live in named if live is not None}
        for step in reversed(self.applied.values()):
            if step.plan_id == plan_id:
                return None
            ids = {live.route.id for live in step.changes.values() if live is not None}
            shared = own.keys() & step.changes.keys()
            shared |= {names[route_id] for route_id in ids & names.keys()}
            if shared and self.statuses[step.plan_id] == "applied":
                return step, sorted(shared)
        return None


def load_history(snapshot: Snapshot, org_id: UUID) -> History:
    """The history of an organisation's live routes."""
    try:
        plan_of: PlanLookup = {run.plan_id: run for run in snapshot.plans(org_id)}.get
    except StoreError:  # a row is corrupt: read them one by one, so that the error names it
        plan_of = snapshot.plan
    return build_history(snapshot.entries(org_id), plan_of)


def build_history(records: Iterable[StoredEntry], plan_of: PlanLookup) -> History:
    """Follow an organisation's chain."""
    history = History()
    for record in records:
        history.entries += 1
        try:
            body = orjson.loads(record.body)
            event, payload = body["event"], body["payload"]
        except (ValueError, KeyError, TypeError):
            history.problems.append(
                DriftProblem(seq=record.seq, message=f"entry {record.seq} is corrupt", blocks=True)
            )
            continue
        if event in (APPLIED, REVERTED):
            _follow(history, record.seq, event, payload, plan_of)
    return history


class _Unfollowable(Exception):
    """The reason why an entry cannot be followed."""


def _follow(
    history: History, seq: int, event: str, payload: Mapping[str, Any], plan_of: PlanLookup
) -> None:
    plan_id: UUID | None = None
    try:
        plan_id = _plan_id(payload)
        at = _timestamp(payload, "applied_at" if event == APPLIED else "reverted_at")
        run = _run(plan_of, plan_id)
        names = [route.name for route in run.result.proposed_routes]
        try:
            changes = (
                _applied(history, run, at, payload)
                if event == APPLIED
                else _reverted(history, run, payload)
            )
        except _Unfollowable:
            # Only the plan's row has the previous names of its routes.
            history.unknown.update(names, history.live if payload.get(RENAMED) else ())
            raise
    except _Unfollowable as reason:
        history.problems.append(
            DriftProblem(
                seq=seq, plan_id=plan_id, message=f"entry {seq} ({event}) {reason}", blocks=True
            )
        )
        return
    finally:
        if plan_id is not None:
            history.statuses[plan_id] = "applied" if event == APPLIED else "reverted"
    _check_row(history, seq, run, event, at)
    if event == APPLIED:
        history.before[plan_id] = {
            name: history.live.get(name) for name in changes if name not in history.unknown
        }
    new = [live.route for live in changes.values() if live is not None]
    renamed = {
        name: old
        for name, old in find_previous_names(history.live.values(), new).items()
        if old in changes
    }
    for name, live in changes.items():
        history.unknown.discard(name)
        _put(history.live, name, live)
    # The order stays that of the chain, even if a clock was set back.
    at = max(at, history.steps[-1].at) if history.steps else at
    history.steps.append(HistoryStep(seq, at, event, plan_id, run.name, changes, renamed))
    if event == APPLIED:
        history.applied[plan_id] = history.steps[-1]


def _plan_id(payload: Mapping[str, Any]) -> UUID:
    try:
        return UUID(payload["plan_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise _Unfollowable("does not name a plan") from None


def _timestamp(payload: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.fromisoformat(payload[name]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        raise _Unfollowable(f"has no {name}") from None


def _run(plan_of: PlanLookup, plan_id: UUID) -> StoredPlan:
    try:
        run = plan_of(plan_id)
    except StoreError as error:
        raise _Unfollowable(f"names plan {plan_id}, and {error}") from None
    if run is None:
        raise _Unfollowable(f"names plan {plan_id}, which has no row")
    return run


def routes_after_apply(
    live: Iterable[LiveRoute], run: StoredPlan, at: datetime
) -> dict[str, LiveRoute | None]:
    """What is live under each name that a plan changes; None under previous names of its routes."""
    routes = run.result.proposed_routes
    new: dict[str, LiveRoute | None] = {
        route.name: LiveRoute(route=route, plan_id=run.plan_id, applied_at=at) for route in routes
    }
    return new | dict.fromkeys(
        old for old in find_previous_names(live, routes).values() if old not in new
    )


def _applied(
    history: History, run: StoredPlan, at: datetime, payload: Mapping[str, Any]
) -> dict[str, LiveRoute | None]:
    routes = run.result.proposed_routes
    if not _commits(payload, run, "routes applied", routes):
        raise _Unfollowable(f"signed for other routes than the row of plan {run.plan_id} has")
    return routes_after_apply(history.live.values() if payload.get(RENAMED) else (), run, at)


def _reverted(
    history: History, run: StoredPlan, payload: Mapping[str, Any]
) -> dict[str, LiveRoute | None]:
    if history.statuses.get(run.plan_id) != "applied":
        raise _Unfollowable(f"reverts plan {run.plan_id}, which no entry before it applied")
    before = history.before.get(run.plan_id)
    if before is None:
        raise _Unfollowable(f"reverts plan {run.plan_id}, whose own entry could not be followed")
    own = history.applied[run.plan_id].changes
    later = [name for name in before if history.live.get(name) != own[name]]
    if later:
        raise _Unfollowable(
            f"reverts plan {run.plan_id}, whose {later[0]!r:.60} had changed by then"
        )
    missing = [name for name in own if name not in before]
    if missing:
        raise _Unfollowable(
            f"restores what was live as {missing[0]!r:.60} before plan {run.plan_id}, which is "
            "unknown"
        )
    restored = _by_name(live for live in before.values() if live is not None)
    if not _commits(payload, run, "routes restored", restored):
        raise _Unfollowable(f"signed for other routes than what plan {run.plan_id} had replaced")
    return dict(before)


def _check_row(history: History, seq: int, run: StoredPlan, event: str, at: datetime) -> None:
    """Report a problem if the row's time is not the signed one."""
    name = "applied_at" if event == APPLIED else "reverted_at"
    stored: datetime | None = getattr(run, name)
    if stored != at:
        row = "nothing" if stored is None else stored.isoformat()
        message = (
            f"entry {seq} says that {name} of plan {run.plan_id} is {at.isoformat()}; "
            f"its row says {row}"
        )
        history.problems.append(DriftProblem(seq=seq, plan_id=run.plan_id, message=message))


def _put(routes: dict[str, LiveRoute], name: str, live: LiveRoute | None) -> None:
    if live is None:
        routes.pop(name, None)
    else:
        routes[name] = live
