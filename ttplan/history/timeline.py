"""What plan rows and the chain say was live when: the live routes are a function of them, and anybody can compute it again.

Pure: entries and plans come in, steps come out. Nothing here looks at the live routes themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import blake3
import orjson

from ttplan.audit.canonical import canonical_json
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import StoreError
from ttplan.model.results.drift import DriftProblem
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, SeenRoute, Status, StoredPlan, find_previous_names
from ttplan.store.protocol import Snapshot

APPLIED, REVERTED, REPAIRED = "plan.applied", "plan.reverted", "routes.repaired"
RENAMED = "renamed"
"""In the payload of `plan.applied`: how many routes got another name. An apply without it replaced by names alone."""
PlanLookup = Callable[[UUID], StoredPlan | None]
"""Gives a plan's row, None where there is none; raises StoreError where it is none any more."""


def routes_commitment(nonce: str, routes: Iterable[ProposedRoute]) -> str:
    """`BLAKE3(nonce ‖ canonical JSON of the routes)`, hex: what the chain says of routes without showing them."""
    listed = [route.model_dump(mode="json") for route in routes]
    return blake3.blake3(bytes.fromhex(nonce) + canonical_json(listed)).hexdigest()


def restored_commitment(nonce: str, restored: Iterable[LiveRoute]) -> str:
    """`routes_commitment` of what a revert puts back, in the order of names."""
    return routes_commitment(
        nonce, sorted((live.route for live in restored), key=lambda route: route.name)
    )


def seen_routes(live: Iterable[LiveRoute]) -> tuple[SeenRoute, ...]:
    """What a plan remembers of the routes that are live when it is computed, in the order of names."""
    return tuple(
        SeenRoute(name=one.route.name, plan_id=one.plan_id, digest=_digest(one.route))
        for one in sorted(live, key=lambda one: one.route.name)
    )


def live_digest(routes: Iterable[SeenRoute]) -> str:
    """One digest (64 hex digits) of a set of live routes: their names and content, whichever plans put them there."""
    listed = sorted([route.name, route.digest] for route in routes)
    return blake3.blake3(canonical_json(listed)).hexdigest()


def _digest(route: ProposedRoute) -> str:
    return blake3.blake3(canonical_json(route.model_dump(mode="json"))).hexdigest()


class HistoryStep(NamedTuple):
    """One entry that changed the live routes: when, by which event of which plan, and by name what is live since, or None.

    `renamed` has the names that routes had before, by those that they have since.
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
    """The steps in the chain's order, and what they come to.

    `before` has, for each plan, what was live under the names that it touched when it was applied. `unknown` are names of which
    it cannot be said what is live, since a plan's row is not what was signed for; `problems` says why. `applied` has each plan's
    own step, in the order in which they were applied.
    """

    steps: list[HistoryStep] = field(default_factory=list)
    live: dict[str, LiveRoute] = field(default_factory=dict)
    before: dict[UUID, dict[str, LiveRoute | None]] = field(default_factory=dict)
    applied: dict[UUID, HistoryStep] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    problems: list[DriftProblem] = field(default_factory=list)
    statuses: dict[UUID, Status] = field(default_factory=dict)
    entries: int = 0

    def at(self, moment: datetime) -> dict[str, LiveRoute]:
        """What was live at a moment, by name."""
        table: dict[str, LiveRoute] = {}
        for step in self.steps:
            if step.at > moment:
                break
            for name, live in step.changes.items():
                _put(table, name, live)
        return table

    def superseded_by(self, plan_id: UUID) -> tuple[HistoryStep, list[str]] | None:
        """The last later plan that is applied and touched a name or a route that this one did, and under which names; or None."""
        if plan_id not in self.applied:
            return None
        own = self.applied[plan_id].changes
        named = [
            *self.before[plan_id].items(),
            *own.items(),
        ]  # a route that it renamed has the new name here
        ids = {one.route.id: name for name, one in named if one is not None}
        for step in reversed(self.applied.values()):
            if step.plan_id == plan_id:
                return None
            landed = [one.route.id for one in step.changes.values() if one is not None]
            found = (own.keys() & step.changes.keys()) | {
                ids[route_id] for route_id in landed if route_id in ids
            }
            if found and self.statuses[step.plan_id] == "applied":
                return step, sorted(found)
        return None


def load_history(snapshot: Snapshot, org_id: UUID) -> History:
    """The history of an organisation's live routes."""
    try:
        plan_of: PlanLookup = {run.plan_id: run for run in snapshot.plans(org_id)}.get
    except StoreError:  # a row is none any more: one by one, so that it can be named
        plan_of = snapshot.plan
    return build_history(snapshot.entries(org_id), plan_of)


def build_history(records: Iterable[StoredEntry], plan_of: PlanLookup) -> History:
    """Follow an organisation's chain. See `PlanLookup`."""
    history = History()
    for record in records:
        history.entries += 1
        try:
            body = orjson.loads(record.body)
            event, payload = body["event"], body["payload"]
        except (ValueError, KeyError, TypeError):
            history.problems.append(
                DriftProblem(
                    seq=record.seq, message=f"entry {record.seq} is no entry any more", blocks=True
                )
            )
            continue
        if event in (APPLIED, REVERTED):
            _follow(history, record.seq, event, payload, plan_of)
    return history


class _Cannot(Exception):
    """An entry that cannot be followed, and why."""


def _follow(
    history: History, seq: int, event: str, payload: Mapping[str, Any], plan_of: PlanLookup
) -> None:
    plan_id: UUID | None = None
    try:
        plan_id = _plan_id(payload)
        at = _moment(payload, "applied_at" if event == APPLIED else "reverted_at")
        run = _run(plan_of, plan_id)
        names = [route.name for route in run.result.proposed_routes]
        try:
            changes = (
                _applied(history, run, at, payload)
                if event == APPLIED
                else _reverted(history, run, payload)
            )
        except _Cannot:
            # Which routes had another name before, only the plan's row could tell.
            history.unknown.update(names, history.live if payload.get(RENAMED) else ())
            raise
    except _Cannot as reason:
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
    # A clock that was set back does not put the history in another order.
    since = max(at, history.steps[-1].at) if history.steps else at
    history.steps.append(HistoryStep(seq, since, event, plan_id, run.name, changes, renamed))
    if event == APPLIED:
        history.applied[plan_id] = history.steps[-1]


def _plan_id(payload: Mapping[str, Any]) -> UUID:
    try:
        return UUID(payload["plan_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise _Cannot("names no plan") from None


def _moment(payload: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.fromisoformat(payload[name]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        raise _Cannot(f"has no {name}") from None


def _run(plan_of: PlanLookup, plan_id: UUID) -> StoredPlan:
    try:
        run = plan_of(plan_id)
    except StoreError as error:
        raise _Cannot(f"speaks of plan {plan_id}, and {error}") from None
    if run is None:
        raise _Cannot(f"speaks of plan {plan_id}, which has no row")
    return run


def routes_after_apply(
    live: Iterable[LiveRoute], run: StoredPlan, at: datetime
) -> dict[str, LiveRoute | None]:
    """What is live under each name that a plan touches once it is applied; None under those that its routes had before."""
    routes = run.result.proposed_routes
    new: dict[str, LiveRoute | None] = {}
    for route in routes:
        new[route.name] = LiveRoute(route=route, plan_id=run.plan_id, applied_at=at)
    return new | dict.fromkeys(
        old for old in find_previous_names(live, routes).values() if old not in new
    )


def _applied(
    history: History, run: StoredPlan, at: datetime, payload: Mapping[str, Any]
) -> dict[str, LiveRoute | None]:
    routes = run.result.proposed_routes
    if payload.get("routes_commitment") != routes_commitment(run.nonce, routes):
        raise _Cannot(f"signed for other routes than the row of plan {run.plan_id} has")
    return routes_after_apply(history.live.values() if payload.get(RENAMED) else (), run, at)


def _reverted(
    history: History, run: StoredPlan, payload: Mapping[str, Any]
) -> dict[str, LiveRoute | None]:
    if history.statuses.get(run.plan_id) != "applied":
        raise _Cannot(f"reverts plan {run.plan_id}, which no entry before it applied")
    before = history.before.get(run.plan_id)
    if before is None:
        raise _Cannot(f"reverts plan {run.plan_id}, whose own entry could not be followed")
    own = history.applied[run.plan_id].changes
    later = [name for name in before if history.live.get(name) != own[name]]
    if later:
        raise _Cannot(
            f"reverts plan {run.plan_id}, whose {later[0]!r:.60} was not as it had put it there by then"
        )
    lost = [name for name in own if name not in before]
    if lost:
        raise _Cannot(
            f"puts back what was live as {lost[0]!r:.60} before plan {run.plan_id}, and that cannot be known"
        )
    if payload.get("routes_commitment") != restored_commitment(
        run.nonce, (one for one in before.values() if one is not None)
    ):
        raise _Cannot(f"signed for other routes than what plan {run.plan_id} had replaced")
    return dict(before)


def _check_row(history: History, seq: int, run: StoredPlan, event: str, at: datetime) -> None:
    """Note where a row's own times are not those that were signed."""
    kept, name = (
        (run.applied_at, "applied_at") if event == APPLIED else (run.reverted_at, "reverted_at")
    )
    if kept != at:
        said = "nothing" if kept is None else kept.isoformat()
        message = f"entry {seq} says that {name} of plan {run.plan_id} is {at.isoformat()}; its row says {said}"
        history.problems.append(DriftProblem(seq=seq, plan_id=run.plan_id, message=message))


def _put(table: dict[str, LiveRoute], name: str, live: LiveRoute | None) -> None:
    if live is None:
        table.pop(name, None)
    else:
        table[name] = live
