"""Stored plans, found by what a person types."""

from __future__ import annotations

from uuid import UUID

from ttplan.model.errors import InputError, PlanNotFound
from ttplan.model.plan_run import PlanRun
from ttplan.store.protocol import Store


def find_plan(store: Store, plan_id: UUID | str) -> PlanRun:
    """A stored plan by its id or the first digits of one, at least 4. Raises PlanNotFound, InputError where it is unclear."""
    text = str(plan_id).lower()
    with store.read() as snapshot:
        if len(text) == 36:
            try:
                run = snapshot.plan(UUID(text))
            except ValueError:
                run = None
            if run is None:
                raise PlanNotFound(text)
            return run
        org_id = snapshot.org_id()
        runs = [] if org_id is None else snapshot.plans(org_id)
    found = [run for run in runs if len(text) >= 4 and str(run.plan_id).startswith(text)]
    if len(found) > 1:
        raise InputError(f"{len(found)} plans have an id that begins with {text}; give more of it")
    if not found:
        raise PlanNotFound(text)
    return found[0]
