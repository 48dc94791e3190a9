"""Compare a plan with what happened once its routes were live.

A change in traffic is not an error of the plan: the projected rate of each kind of request is
applied to the requests that came.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ttplan.history.timeline import APPLIED, load_history
from ttplan.model.errors import InputError, InvalidState
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.context import Context, PlanRef, require_plan
from ttplan.operations.filters import TimeLike, parse_time_or_none
from ttplan.operations.plans.reconciled_figures import LivePeriod, make_reconciliation
from ttplan.store.protocol import Snapshot
from ttplan.store.transactions import run_in_transaction

if TYPE_CHECKING:
    import ibis.expr.types as ir


def reconcile(context: Context, plan: PlanRef, *, until: TimeLike | None = None) -> Reconciliation:
    """Compare an applied plan with the requests that were logged while its routes were live.

    The result is kept in the store.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    until : time, optional
        Only compare requests before this time: a timezone-aware datetime, an ISO 8601 string or a
        date (00:00 UTC).

    Returns
    -------
    ReconciliationCard
        Each figure as projected, as expected of the traffic that came, and as logged; money in
        USD.

    Raises
    ------
    PlanNotFound, InvalidState
        If there is no such plan, or it was never applied.
    InputError
        If there is nothing to compare.
    StoreError
        If the result cannot be stored. Nothing is written then.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.reconcile("cheaper")
    Traceback (most recent call last):
    ...
    ttplan.model.errors.InputError: no request was logged since plan ...
    """
    plan_id, end = context.plan_id(plan), parse_time_or_none(until, "until")
    with context.store.read() as snapshot:
        run = require_plan(snapshot, plan_id)
        reconciliation = compare_with_log(snapshot, run, context.clock(), end)
    run_in_transaction(context.store, lambda tx: tx.add_reconciliation(run.org_id, reconciliation))
    return reconciliation


def compare_with_log(
    snapshot: Snapshot, run: StoredPlan, at: datetime, until: datetime | None = None
) -> Reconciliation:
    """Compare a plan with the log, without keeping the result."""
    from ttplan.engine.reconcile.observed import observe_figures, project_figures
    from ttplan.engine.reconcile.rerouted import is_marked
    from ttplan.engine.replay_spec import ReplaySpec
    from ttplan.engine.rows import select_window

    if run.status not in ("applied", "reverted") or run.applied_at is None:
        raise InvalidState(run.plan_id, run.status, expected="applied")
    if not snapshot.request_count():
        raise InputError(
            "the store holds no requests to compare the plan with; import the log since it was "
            "applied"
        )
    table = snapshot.requests()
    period = _period(snapshot, run, table, until)
    spec = ReplaySpec.from_run(run)
    live_spec = replace(spec, window_start=period.since, window_end=period.until)
    marked = is_marked(select_window(table, live_spec), spec)
    projection = project_figures(table, spec, marked=marked)
    if projection is None:
        raise InputError(
            f"none of the requests that plan {run.plan_id} was computed from is in the store; "
            f"import the log of {run.result.window_start:%Y-%m-%d} to "
            f"{run.result.window_end:%Y-%m-%d}"
        )
    actual = observe_figures(table, live_spec, projection, marked=marked)
    if actual.figures is None:
        raise InputError(
            f"no request of a kind that plan {run.plan_id} projected was logged from "
            f"{period.since:%Y-%m-%d %H:%M} to {period.until:%Y-%m-%d %H:%M}, "
            "while its routes were "
            "live; import the log of that time"
        )
    return make_reconciliation(run, at, period, projection, actual, actual.figures)


def _period(
    snapshot: Snapshot, run: StoredPlan, table: ir.Table, until: datetime | None
) -> LivePeriod:
    """From the apply to its end, by the chain or the row; at most to the last request."""
    import ibis

    from ttplan.engine.dialects import fetch

    since = run.applied_at
    assert since is not None  # noqa: S101 - `compare_with_log` has checked it
    own_rows = table.filter(table.org_id == ibis.literal(str(run.org_id)).cast(table.org_id.type()))
    last = fetch(own_rows.aggregate(last=own_rows.ts.max())).to_pylist()[0]["last"]
    ends: list[tuple[datetime, str | None]] = [(until, None)] if until is not None else []
    if last is not None:
        ends.append((last + timedelta(microseconds=1), None))
    steps = load_history(snapshot, run.org_id).steps
    own = next(
        (
            n
            for n, step in enumerate(steps)
            if step.event == APPLIED and step.plan_id == run.plan_id
        ),
        None,
    )
    if own is not None and own + 1 < len(steps):
        after = steps[own + 1]
        done = "reverted" if after.event != APPLIED else "applied"
        reason = (
            f"plan {after.plan_name!r:.60} was {done} on {after.at:%Y-%m-%d %H:%M}, which ends the "
            "comparison"
        )
        ends.append((after.at, reason))
    elif run.reverted_at is not None:
        reason = (
            f"the plan was reverted on {run.reverted_at:%Y-%m-%d %H:%M}, which ends the comparison"
        )
        ends.append((run.reverted_at, reason))
    end, ended = min(ends, key=lambda end: end[0]) if ends else (since, None)
    if end <= since:
        raise InputError(
            f"no request was logged since plan {run.plan_id} was applied "
            f"on {since:%Y-%m-%d %H:%M}, "
            "while its routes were live; import the log of that time"
        )
    return LivePeriod(since, end, ended)
