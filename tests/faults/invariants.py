"""Invariants of a store, whatever happens to the processes that use it."""

from __future__ import annotations

import json

from tests.audit.chains import KEY
from tests.support import plans
from ttplan.audit.verify.chain import verify_chain
from ttplan.operations.routes.drift import find_drift
from ttplan.store.protocol import Store


def check_whole(store: Store) -> set[int]:
    """Check that the chain verifies, and that each plan is projected with neither entry nor routes,
    or applied with both; return the applied ones."""
    with store.read() as snapshot:
        runs = snapshot.plans(plans.ORG)
        live = snapshot.live_routes(plans.ORG)
        records = list(snapshot.entries(plans.ORG))
    verify_chain(records, KEY.public_key)
    entered = [json.loads(record.body)["payload"]["plan_id"] for record in records]
    assert len(entered) == len(set(entered))
    applied = {run.plan_id for run in runs if run.status == "applied"}
    assert {str(plan_id) for plan_id in applied} == set(entered)
    assert all((run.applied_at is not None) == (run.plan_id in applied) for run in runs)
    # Each plan of these tests has routes with different names.
    for run in runs:
        own = sorted(
            (item.route for item in live if item.plan_id == run.plan_id), key=lambda route: route.id
        )
        assert own == (list(run.result.proposed_routes) if run.plan_id in applied else [])
    return {plan_id.int for plan_id in applied}


def check_followed(store: Store) -> dict[int, str]:
    """Check that the chain verifies, and that rows, times and live routes follow from plans and
    chain; return the status of each plan."""
    with store.read() as snapshot:
        verify_chain(snapshot.entries(plans.ORG), KEY.public_key)
        drift = find_drift(snapshot, plans.ORG, KEY.public_key, own_key=False)
        statuses = snapshot.statuses(plans.ORG)
    assert drift.ok, drift
    return {plan_id.int: status for plan_id, status in statuses.items()}
