"""A plan held against what happened once its routes were live.

A change in traffic is no error of the plan: the projected rate of each kind of request is applied to the requests that came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import NamedTuple
from uuid import UUID

import ibis
import ibis.expr.types as ir

from ttplan.engine.backtest import consistent
from ttplan.engine.dialects import fetch
from ttplan.engine.observed import Actual, Figures, Projection, observe_figures, project_figures
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.history.timeline import APPLIED, load_history
from ttplan.model.errors import InputError, InvalidState, PlanNotFound
from ttplan.model.plan import Interval
from ttplan.model.results.reconciliation import (
    CostChange,
    FigureName,
    ReconciledFigure,
    Reconciliation,
    TrackRecord,
)
from ttplan.model.stored_plan import StoredPlan
from ttplan.quality.result import wilson_interval_pct
from ttplan.store.protocol import Snapshot, Store
from ttplan.store.transactions import run_in_transaction

FEW = 200
"""Below this many requests an actual figure says little."""
_DAY = timedelta(days=1)


class Period(NamedTuple):
    """While a plan's routes were live and none changed, from (inclusive) to (exclusive); and what ended it, if anything did."""

    since: datetime
    until: datetime
    ended: str | None


def reconcile(
    store: Store, plan_id: UUID, at: datetime, *, until: datetime | None = None
) -> Reconciliation:
    """Hold a plan against the requests that were logged while its routes were live, up to `until`, and keep what was found.

    Raises PlanNotFound, InvalidState where it never was applied, InputError where there is nothing to compare, and StoreError;
    nothing is written then.
    """
    with store.read() as snapshot:
        run = snapshot.plan(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        found = compare(snapshot, run, at, until)
    org_id = run.org_id
    run_in_transaction(store, lambda tx: tx.add_reconciliation(org_id, found))
    return found


def compare(
    snapshot: Snapshot, run: StoredPlan, at: datetime, until: datetime | None = None
) -> Reconciliation:
    """What `reconcile` finds, without keeping it."""
    if run.status not in ("applied", "reverted") or run.applied_at is None:
        raise InvalidState(run.plan_id, run.status, expected="applied")
    if until is not None and until.tzinfo is None:
        raise InputError(
            f"{until.isoformat()} has no time zone; expected a moment such as 2026-05-01T00:00:00+00:00"
        )
    if not snapshot.request_count():
        raise InputError(
            "the store holds no requests to hold the plan against; import the log since it was applied"
        )
    table = snapshot.requests()
    period = _period(snapshot, run, table, until)
    spec = ReplaySpec.from_run(run)
    projection = project_figures(table, spec)
    if projection is None:
        raise InputError(
            f"none of the requests that plan {run.plan_id} was computed from is in the store; import the log of "
            f"{run.result.window_start:%Y-%m-%d} to {run.result.window_end:%Y-%m-%d}"
        )
    asked = replace(spec, window_start=period.since, window_end=period.until)
    actual = observe_figures(table, asked, projection.rule, projection.kinds)
    if actual.figures is None:
        raise InputError(
            f"no request of a kind that plan {run.plan_id} projected was logged from {period.since:%Y-%m-%d %H:%M} to "
            f"{period.until:%Y-%m-%d %H:%M}, while its routes were live; import the log of that time"
        )
    return _reconciled(run, at, period, projection, actual, actual.figures)


def _period(snapshot: Snapshot, run: StoredPlan, table: ir.Table, until: datetime | None) -> Period:
    """From its apply to what ended it, as the chain says, else its row; but not beyond the last request that is logged."""
    since = run.applied_at
    assert since is not None  # noqa: S101 - compare looked
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
        said = f"plan {after.plan_name!r:.60} was {done} on {after.at:%Y-%m-%d %H:%M}, which ends the comparison"
        ends.append((after.at, said))
    elif run.reverted_at is not None:
        ends.append(
            (
                run.reverted_at,
                f"the plan was reverted on {run.reverted_at:%Y-%m-%d %H:%M}, which ends the comparison",
            )
        )
    end, ended = min(ends, key=lambda one: one[0]) if ends else (since, None)
    if end <= since:
        raise InputError(
            f"no request was logged since plan {run.plan_id} was applied on {since:%Y-%m-%d %H:%M}, while its routes were live; "
            "import the log of that time"
        )
    return Period(since, end, ended)


def _reconciled(
    run: StoredPlan,
    at: datetime,
    period: Period,
    projection: Projection,
    actual: Actual,
    found: Figures,
) -> Reconciliation:
    known = {kind: one for kind, one in actual.kinds.items() if kind in projection.kinds}
    new = [one for kind, one in actual.kinds.items() if kind not in projection.kinds]
    window_days = (run.result.window_end - run.result.window_start) / _DAY
    days = (period.until - period.since) / _DAY
    projected = projection.figures
    rate = float(projected.cost) / projected.requests
    expected = sum(
        float(projection.kinds[kind].cost) / projection.kinds[kind].requests * one.requests
        for kind, one in known.items()
    )
    hits = sum(
        projection.kinds[kind].hits / projection.kinds[kind].requests * one.requests
        for kind, one in known.items()
    )
    n = found.requests
    change = CostChange(
        volume=(n / days - projected.requests / window_days) * rate,
        mix=(expected - n * rate) / days,
        rate=(float(found.cost) - expected) / days,
        new=float(sum(one.cost for one in new)) / days,
    )
    per_request = _scaled(projected.cost_95, 1 / projected.requests)
    as_mixed = expected / (n * rate) if rate else 1.0
    p50, p95 = (projected.p50, projected.p50_95), (projected.p95, projected.p95_95)
    figures = (
        _figure(
            "cost_per_request_usd",
            (rate, per_request),
            (expected / n, _scaled(per_request, as_mixed)),
            (float(found.cost) / n, _scaled(found.cost_95, 1 / n)),
        ),
        _figure(
            "cost_per_day_usd",
            (float(projected.cost) / window_days, _scaled(projected.cost_95, 1 / window_days)),
            (expected / days, _scaled(per_request, as_mixed * n / days)),
            (float(found.cost) / days, _scaled(found.cost_95, 1 / days)),
        ),
        _figure(
            "cache_hit_rate",
            (projected.hit_rate, projected.hit_rate_95),
            (
                hits / n,
                _scaled(
                    projected.hit_rate_95,
                    hits / n / projected.hit_rate if projected.hit_rate else 1.0,
                ),
            ),
            (found.hit_rate, found.hit_rate_95),
        ),
        _figure("p50_latency_ms", p50, p50, (found.p50, found.p50_95)),
        _figure("p95_latency_ms", p95, p95, (found.p95, found.p95_95)),
    )
    new_requests = sum(one.requests for one in new)
    return Reconciliation(
        plan_id=run.plan_id,
        plan_name=run.name,
        reconciled_at=at,
        since=period.since,
        until=period.until,
        requests=n,
        new_requests=new_requests,
        projected_requests=projected.requests,
        interval_unit=run.result.interval_unit,
        figures=figures,
        change=change,
        caveats=tuple(_caveats(run, period, projection, n, new_requests)),
    )


Given = tuple[float, Interval | None]


def _figure(name: FigureName, projected: Given, expected: Given, actual: Given) -> ReconciledFigure:
    ends, actual_ends = expected[1], actual[1]
    return ReconciledFigure(
        name=name,
        projected=projected[0],
        projected_95=projected[1],
        expected=expected[0],
        expected_95=ends,
        actual=actual[0],
        actual_95=actual_ends,
        inside=None if ends is None else ends[0] <= actual[0] <= ends[1],
        consistent=None
        if ends is None or actual_ends is None
        else consistent(expected[0], ends, actual[0], actual_ends),
    )


def _scaled(ends: Interval | None, factor: float) -> Interval | None:
    return None if ends is None else (ends[0] * factor, ends[1] * factor)


def _caveats(
    run: StoredPlan, period: Period, projection: Projection, n: int, new: int
) -> Iterable[str]:
    if n < FEW:
        yield f"Only {n:,} requests since: the actual figures say little yet."
    if new:
        yield f"{new:,} of {n + new:,} requests are of kinds that the plan's window had none of: their cost stands under new."
    if projection.figures.requests != run.result.sample_size:
        yield (
            f"The store has {projection.figures.requests:,} requests of the plan's window, and the plan was computed from "
            f"{run.result.sample_size:,}: what is projected is of those in the store."
        )
    if not projection.rule.by_tag:
        yield "The log has so many tags that kinds of requests are told apart without them."
    if period.ended is not None:
        yield f"{period.ended[0].upper()}{period.ended[1:]}."


def track_record(found: Sequence[Reconciliation]) -> TrackRecord:
    """How plans did, each by the last of its reconciliations, which come oldest first."""
    last: Mapping[UUID, Reconciliation] = {one.plan_id: one for one in found}
    figures = [one.of("cost_per_request_usd") for one in last.values()]
    judged = [figure for figure in figures if figure.inside is not None]
    errors = tuple(
        (figure.actual - figure.expected) / figure.expected * 100
        for figure in figures
        if figure.expected
    )
    inside = sum(bool(figure.inside) for figure in judged)
    return TrackRecord(
        plans=len(last),
        judged=len(judged),
        inside=inside,
        consistent=sum(bool(figure.consistent) for figure in judged),
        inside_pct_95=wilson_interval_pct(inside, len(judged)) if judged else None,
        errors_pct=errors,
        median_error_pct=median(map(abs, errors)) if errors else None,
        bias_pct=fmean(errors) if errors else None,
    )


def read_track_record(store: Store) -> TrackRecord:
    """`track_record` of the reconciliations that are kept."""
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return track_record([] if org_id is None else snapshot.reconciliations(org_id))
