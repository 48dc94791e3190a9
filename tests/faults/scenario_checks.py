"""What must be true of a store after a fault, given the known state and what was acknowledged."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

import psycopg

from tests.audit.chains import KEY
from tests.faults.scenario import REQUESTS, WRITES_ENTRY, Clock, KnownState, open_scenario
from tests.faults.store_location import KEY_FILE, STORE, URL, is_there, place_of, store_in
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import System
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.routes.drift import find_drift
from ttplan.policy.check import policy_matches_chain
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.postgres.store import PostgresStore
from ttplan.store.protocol import Snapshot

KNOWN_FILES = re.compile(rf"{re.escape(STORE)}(\.wal|\.key\.pem(\.next|\.[0-9a-f]{{8}}\.old)?)?")
NOTICE_TIMEOUT = 20
"""The time within which a server notices that a client is gone, in seconds."""
_INPUT_FILES = (URL, "log.jsonl", "facts.json")
DRAFT = re.compile(
    rf"\.({re.escape(STORE)}|copy-\d+\.duckdb)\..*(\.new|\.new\.wal)|\.{re.escape(STORE)}\.key\.pem.*"
)


def check_all(
    folder: Path, known: KnownState, pending: list[str], *, sure: int, left: bool
) -> list[str]:
    """The violations in the store of a folder.

    `pending` are steps that may have been done; `sure` is how many entries of them must exist;
    `left` allows drafts.
    """
    if not is_there(folder):
        return ["the store is gone"] if known.holds_something else []
    wrong = [*_files(folder, known, left)]
    with store_in(folder).read() as snapshot:
        wrong += _content(snapshot, known, Counter(pending), sure)
    for name in known.copies:
        with DuckDBStore(folder / name, create=False).read() as copy:
            wrong += [f"{name}: {item}" for item in _whole(copy)]
    return wrong


def _files(folder: Path, known: KnownState, left: bool) -> list[str]:
    names = sorted(path.name for path in folder.iterdir())
    odd = [
        name
        for name in names
        if not (KNOWN_FILES.fullmatch(name) or name in known.copies or name in _INPUT_FILES)
    ]
    return [
        f"{name} was left behind"
        for name in odd
        if not (left and (DRAFT.fullmatch(name) or name.startswith("copy-")))
    ]


def _whole(snapshot: Snapshot) -> list[str]:
    """The violations that do not depend on the known state."""
    org_id = snapshot.org_id()
    if org_id is None:
        return []
    verify_chain(snapshot.entries(org_id), KEY.public_key)
    drift = find_drift(snapshot, org_id, KEY.public_key, own_key=True)
    if drift.problems or drift.chain == "broken":
        return [f"plans and chain differ: {drift.problems[:2]}"]
    for run in snapshot.plans(org_id):
        if (run.applied_at is None) == (run.status in ("applied", "reverted")):
            return [f"plan {run.plan_id} is {run.status}, applied at {run.applied_at}"]
    live = snapshot.live_routes(org_id)
    if len({item.route.id for item in live}) != len(live):
        return ["a route that was renamed is live under both names"]
    if not policy_matches_chain(snapshot, org_id, snapshot.policy()):
        return ["the policy is not the signed one"]
    return [f"the route {item.name!r} is {item.kind}" for item in drift.routes]


def _content(snapshot: Snapshot, known: KnownState, pending: Counter[str], sure: int) -> list[str]:
    wrong = _whole(snapshot)
    org_id = snapshot.org_id()
    records = [] if org_id is None else list(snapshot.entries(org_id))
    if not known.repaired and not any(b'"routes.repaired"' in record.body for record in records):
        wrong = [item for item in wrong if not item.endswith("is edited")]
    anchors = [f"{record.seq}:{record.hash}" for record in records]
    missing = [entry for entry in known.entries if entry not in anchors]
    if missing:
        wrong.append(f"acknowledged and lost: {missing}")
    more = len(anchors) - len(known.entries)
    if not sure <= more <= sum(pending[step] for step in WRITES_ENTRY):
        wrong.append(
            f"{more} entries more than were acknowledged; at least {sure} must exist, "
            f"and {dict(pending)} may have been done"
        )
    requests = snapshot.request_count()
    if requests != known.requests and not (pending["import"] and requests == REQUESTS):
        wrong.append(f"{requests} requests, {known.requests} known")
    runs = [] if org_id is None else snapshot.plans(org_id)
    return [*wrong, *_plans(runs, known, pending, more)]


def _plans(
    runs: list[StoredPlan], known: KnownState, pending: Counter[str], more: int
) -> list[str]:
    statuses = {str(run.plan_id): run.status for run in runs if run.status != "failed"}
    lost = [plan for plan in known.statuses if plan not in statuses]
    changed = [
        plan
        for plan, status in known.statuses.items()
        if plan in statuses and statuses[plan] != status
    ]
    new = statuses.keys() - known.statuses.keys()
    wrong = [f"plans lost: {lost}"] if lost else []
    if len(changed) > more:
        wrong.append(f"plans changed: {changed}")
    if len(new) > pending["plan"]:
        wrong.append(f"unknown plans: {sorted(new)}")
    return wrong


def continue_using(folder: Path, rng: Random) -> list[str]:
    """Use the store again: finish an interrupted rotation, apply a plan, repair and check."""
    facts = KnownState()
    clock = Clock()
    scenario = open_scenario(folder, facts, rng, clock, lock_timeout=60)
    workspace = scenario.workspace
    if (folder / f"{KEY_FILE}.next").exists() and workspace.anchor() is not None:
        workspace.evidence.rotate_key(actor=System())
    with workspace.store.read() as snapshot:
        org_id = snapshot.org_id()
        tip = None if org_id is None else snapshot.tip(org_id)
        projected = (
            []
            if org_id is None
            else [run for run in snapshot.plans(org_id) if run.status == "projected"]
        )
    if projected:
        entry = workspace.apply(rng.choice(projected).plan_id, actor=System(), allow_stale=True)
        if entry.seq != (0 if tip is None else tip.seq + 1):
            return [f"the next apply has seq {entry.seq}"]
    workspace.repair(actor=System())
    with workspace.store.read() as snapshot:
        return [f"after further use: {item}" for item in _whole(snapshot)]


class _LeftState(NamedTuple):
    """The state of an organisation of a database."""

    entries: list[str]
    statuses: dict[UUID, str]
    live: list[str]


_LEFT: dict[str, _LeftState] = {}
"""The state of each checked organisation, by URL."""


def remember(folder: Path) -> None:
    """Store the state of an organisation of a database for `changed_since`."""
    if (folder / URL).exists():
        _LEFT[place_of(folder)] = _left(place_of(folder))


def changed_since() -> list[str]:
    """The organisations whose state has changed since their check."""
    changed = [
        f"{place} was {left}, and is {now}"
        for place, left in _LEFT.items()
        if (now := _left(place)) != left
    ]
    return changed + _held_locks(next(iter(_LEFT)).partition("&org=")[0]) if _LEFT else []


def _held_locks(url: str) -> list[str]:
    """Locks that a server still holds for sessions whose processes have ended."""
    query = (
        "SELECT pid, application_name, state FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory'"
    )
    until = time.monotonic() + NOTICE_TIMEOUT
    with psycopg.connect(url, autocommit=True) as admin:
        while (locks := admin.execute(query.encode()).fetchall()) and time.monotonic() < until:
            time.sleep(0.05)
    return [
        f"a lock is held by session {session} ({name}, {state})" for session, name, state in locks
    ]


def _left(place: str) -> _LeftState:
    with PostgresStore(place).read() as snapshot:
        org_id = snapshot.org_id()
        if org_id is None:
            return _LeftState([], {}, [])
        entries = [f"{record.seq}:{record.hash}" for record in snapshot.entries(org_id)]
        return _LeftState(
            entries,
            dict(snapshot.statuses(org_id)),
            [str(live) for live in snapshot.live_routes(org_id)],
        )
