"""How close the plans so far were to what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple
from uuid import UUID

from ttplan.model.results.reconciliation import Reconciliation, TrackRecord
from ttplan.operations.context import Context


def track_record(context: Context) -> TrackRecord:
    """Summarise how the reconciled plans did, each by its last reconciliation.

    Returns
    -------
    TrackRecordCard
        How many plans had an error within the interval of their projection, and how large the
        errors were, in percent of the expected cost.

    Examples
    --------
    >>> ws.track_record().result.plans
    0
    """
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        return summarise([] if org_id is None else snapshot.reconciliations(org_id))


def summarise(reconciliations: Sequence[Reconciliation]) -> TrackRecord:
    """How plans did, each by the last of its reconciliations, which come oldest first."""
    from ttplan.quality.judge.accuracy import wilson_interval_pct

    last: Mapping[UUID, Reconciliation] = {latest.plan_id: latest for latest in reconciliations}
    outcomes = [_outcome(latest) for latest in last.values()]
    judged = [outcome for outcome in outcomes if outcome.inside is not None]
    errors = tuple(outcome.error_pct for outcome in outcomes if outcome.error_pct is not None)
    inside = sum(bool(outcome.inside) for outcome in judged)
    return TrackRecord(
        plans=len(last),
        judged=len(judged),
        inside=inside,
        consistent=sum(bool(outcome.consistent) for outcome in judged),
        inside_pct_95=wilson_interval_pct(inside, len(judged)) if judged else None,
        errors_pct=errors,
        median_error_pct=median(map(abs, errors)) if errors else None,
        bias_pct=fmean(errors) if errors else None,
    )


class _Outcome(NamedTuple):
    """The error of a plan in percent of the expected cost, and whether it was within intervals."""

    error_pct: float | None
    inside: bool | None
    consistent: bool | None


def _outcome(reconciliation: Reconciliation) -> _Outcome:
    """What the plan answers for; in a reconciliation of version 0.1, all of the cost a request."""
    error = reconciliation.error
    if error is not None:
        pct = error.usd / error.expected_usd * 100 if error.expected_usd else None
        return _Outcome(pct, error.inside, error.consistent)
    figure = reconciliation.of("cost_per_request_usd")
    difference = figure.actual - figure.expected
    pct = difference / figure.expected * 100 if figure.expected else None
    return _Outcome(pct, figure.inside, figure.consistent)
