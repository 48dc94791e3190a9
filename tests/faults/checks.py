"""What has to be true of a store after a fault, given what was known before and what was acknowledged since."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

from tests.audit.chains import KEY
from tests.faults.life import REQUESTS, STORE, WRITES_ENTRY, Clock, Facts, open_life
from ttplan.audit.verify import verify_chain
from ttplan.model.audit import System
from ttplan.model.plan_run import PlanRun
from ttplan.operations.drift import find_drift
from ttplan.store.duckdb import DuckDBStore
from ttplan.store.protocol import Snapshot

OURS = re.compile(rf"{re.escape(STORE)}(\.wal|\.key\.pem(\.next|\.[0-9a-f]{{8}}\.old)?)?")
DRAFT = re.compile(rf"\.({re.escape(STORE)}|copy-\d+\.duckdb)\..*(\.new|\.new\.wal)|\.{re.escape(STORE)}\.key\.pem.*")


def check_all(folder: Path, known: Facts, pending: list[str], *, left: bool) -> list[str]:
    """What is wrong with the store in a folder. `pending` are steps that may have been done or not; `left` allows drafts."""
    if not (folder / STORE).exists():
        return [] if known == Facts() else ["the store is gone"]
    wrong = [*_files(folder, known, left)]
    with DuckDBStore(folder / STORE, create=False, lock_timeout=60).read() as snapshot:
        wrong += _content(snapshot, known, Counter(pending))
    for name in known.copies:
        with DuckDBStore(folder / name, create=False).read() as copy:
            wrong += [f"{name}: {one}" for one in _whole(copy)]
    return wrong


def _files(folder: Path, known: Facts, left: bool) -> list[str]:
    found = sorted(path.name for path in folder.iterdir())
    odd = [name for name in found if not (OURS.fullmatch(name) or name in known.copies or name in ("log.jsonl", "facts.json"))]
    return [f"{name} was left behind" for name in odd if not (left and (DRAFT.fullmatch(name) or name.startswith("copy-")))]


def _whole(snapshot: Snapshot) -> list[str]:
    """What of a store does not fit together, whatever it should hold."""
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
    return [f"the route {one.name!r} is {one.kind}" for one in drift.routes]


def _content(snapshot: Snapshot, known: Facts, pending: Counter[str]) -> list[str]:
    wrong = _whole(snapshot)
    org_id = snapshot.org_id()
    records = [] if org_id is None else list(snapshot.entries(org_id))
    if not known.repaired and not any(b'"routes.repaired"' in record.body for record in records):
        wrong = [one for one in wrong if not one.endswith("is edited")]
    found = [f"{record.seq}:{record.hash}" for record in records]
    missing = [entry for entry in known.entries if entry not in found]
    if missing:
        wrong.append(f"acknowledged and lost: {missing}")
    more = len(found) - len(known.entries)
    if not 0 <= more <= sum(pending[step] for step in WRITES_ENTRY):
        wrong.append(f"{more} entries more than were acknowledged, and {dict(pending)} may have been done")
    requests = snapshot.request_count()
    if requests != known.requests and not (pending["import"] and requests == REQUESTS):
        wrong.append(f"{requests} requests, {known.requests} known")
    runs = [] if org_id is None else snapshot.plans(org_id)
    return [*wrong, *_plans(runs, known, pending, more)]


def _plans(runs: list[PlanRun], known: Facts, pending: Counter[str], more: int) -> list[str]:
    statuses = {str(run.plan_id): run.status for run in runs if run.status != "failed"}
    lost = [plan for plan in known.statuses if plan not in statuses]
    changed = [plan for plan, status in known.statuses.items() if plan in statuses and statuses[plan] != status]
    new = statuses.keys() - known.statuses.keys()
    wrong = [f"plans lost: {lost}"] if lost else []
    if len(changed) > more:
        wrong.append(f"plans changed: {changed}")
    if len(new) > pending["plan"]:
        wrong.append(f"plans that nobody made: {sorted(new)}")
    return wrong


def go_on(folder: Path, chance: Random) -> list[str]:
    """Use the store again: finish a rotation that was broken off, apply or import, and look."""
    facts = Facts()
    clock = Clock()
    life = open_life(folder, facts, chance, clock, lock_timeout=60)
    workspace = life.workspace
    if (folder / f"{STORE}.key.pem.next").exists() and workspace.anchor() is not None:
        workspace.evidence.rotate_key(actor=System())
    with workspace.store.read() as snapshot:
        org_id = snapshot.org_id()
        tip = None if org_id is None else snapshot.tip(org_id)
        projected = [] if org_id is None else [run for run in snapshot.plans(org_id) if run.status == "projected"]
    if projected:
        entry = workspace.apply(chance.choice(projected).plan_id, actor=System(), allow_stale=True)
        if entry.seq != (0 if tip is None else tip.seq + 1):
            return [f"an apply that followed has seq {entry.seq}"]
    workspace.repair(actor=System())
    with workspace.store.read() as snapshot:
        return [f"after going on: {one}" for one in _whole(snapshot)]
