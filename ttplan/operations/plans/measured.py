"""What applied plans measured of their target models: the answers before and after they went live.

Requests that a plan's routes match and the source answered are compared with requests that match
as well and the target answered later. Their prompts differ, so the mean output is compared within
strata of tag and size of the input. The same estimate on traffic that no route changed (between
the halves of each time, and of requests that the plan leaves alone before and after) shows how much
answers change by themselves: what exceeds its own standard error is added to that of the ratio.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ttplan.history.timeline import APPLIED, load_history
from ttplan.model.projection.assumption import (
    MAX_VALUE,
    Assumption,
    AssumptionName,
    measured,
)
from ttplan.model.request import MAX_TOKENS
from ttplan.model.route import ProposedRoute, RouteConditions, sort_by_precedence
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.plans.stratified import (
    Comparison,
    Estimate,
    Moments,
    Strata,
    Stratum,
    compare,
)
from ttplan.store.protocol import Snapshot

if TYPE_CHECKING:
    import ibis.expr.types as ir

MIN_REQUESTS = 200
"""With fewer requests than this in shared strata, before or after, nothing is said."""
MAX_OTHERS = 0.05
"""The share of matching requests that other models, or the target itself, may answer before."""
MAX_DRIFT = 0.25
"""With a larger change of what no route changed, a change of traffic may be all there is."""
_COLUMNS = {"matched_route_id", "reasoning_tokens", "status"}
"""Columns that requests outside the store may lack; they are not measured then."""
MOST_TAGS = 200
"""With more tags, strata do not distinguish them."""


class Rollout(NamedTuple):
    """A plan, one of its targets, and the times before and after it went live."""

    run: StoredPlan
    target: str
    start: datetime
    since: datetime
    until: datetime

    @property
    def routes(self) -> list[ProposedRoute]:
        """The plan's active routes, in order of precedence."""
        return sort_by_precedence(self.run.result.proposed_routes)


class _Row(NamedTuple):
    """The requests of one stratum in one half of one time, on one model."""

    after: bool
    late: bool
    group: str
    model: str
    stratum: tuple[int, str | None]
    visible: Moments
    reasoning: Moments
    reported: int


def rollout_assumptions(
    snapshot: Snapshot, org_id: UUID, targets: Collection[str] | None = None
) -> tuple[Assumption, ...]:
    """Return what applied plans measured of `targets` (all if None), the latest plan first.

    That is `ratio_out` (visible output) and, if the target reports it, `ratio_reasoning`, or
    `reasoning_tokens` if the source does not think. A plan measures a pair of models only if

    - one model answered at least 95 % of the matching requests before, and the target none to
      speak of,
    - at least `MIN_REQUESTS` requests before and after are in shared strata, which are most of the
      earlier requests,
    - what no route changed stayed about the same, and
    - its conditions can be asked of requests that the target answered: none on cost or modality,
      and no ceiling of cost, which withholds long answers from the target.

    Ratios of input are not told: longer prompts look like a finer tokenizer.
    """
    assumptions: list[Assumption] = []
    known: set[tuple[str | None, str | None]] = set()
    for rollout in _rollouts(snapshot, org_id, targets):
        found = list(_measure(snapshot, rollout))
        pairs = {(a.source_model, a.target_model) for a in found}
        assumptions += found if not pairs & known else []
        known |= pairs
    return tuple(assumptions)


def _rollouts(
    snapshot: Snapshot, org_id: UUID, targets: Collection[str] | None
) -> Iterator[Rollout]:
    """The rollouts that can be measured, the latest first."""
    statuses = set(snapshot.statuses(org_id).values())
    if statuses.isdisjoint(("applied", "reverted")) or not snapshot.request_count():
        return
    table = snapshot.requests()
    if table.get_backend().name != "duckdb" or not set(table.columns) >= _COLUMNS:
        return
    last = _last_request(table)
    steps = load_history(snapshot, org_id).steps
    for n, step in reversed(list(enumerate(steps))):
        run = snapshot.plan(step.plan_id) if step.event == APPLIED else None
        if run is None or last is None:
            continue
        until = min([last, *(after.at for after in steps[n + 1 : n + 2])])
        if run.result.window_start < step.at < until:
            for target in sorted({route.then.target_model for route in run.result.proposed_routes}):
                if targets is None or target in targets:
                    yield Rollout(run, target, run.result.window_start, step.at, until)


def _last_request(table: ir.Table) -> datetime | None:
    from ttplan.engine.dialects import fetch

    last: datetime | None = fetch(table.aggregate(last=table.ts.max())).to_pylist()[0]["last"]
    return None if last is None else last + timedelta(microseconds=1)


def _measure(snapshot: Snapshot, rollout: Rollout) -> Iterator[Assumption]:
    own = [route for route in rollout.routes if route.then.target_model == rollout.target]
    if not own or not all(_is_traceable(route) for route in own):
        return
    rows = _read_rows(snapshot.requests(), rollout)
    source = _source(rows, rollout.target)
    if source is None:
        return
    old = [row for row in rows if row.group == "matched" and not row.after and row.model == source]
    new = [row for row in rows if row.group == "served" and row.after]
    visible = compare(_strata(old, "visible"), _strata(new, "visible"), MIN_REQUESTS)
    reasoning = compare(_strata(old, "reasoning"), _strata(new, "reasoning"), MIN_REQUESTS)
    drift = _drift(rows, old, new)
    if visible is None or reasoning is None or drift is None or not visible.old[0]:
        return
    reported = 2 * sum(row.reported for row in new) > sum(row.visible.n for row in new)
    thinks = reasoning.old[0] > 0
    if thinks and not reported:
        return
    estimates: dict[AssumptionName, Estimate] = {"ratio_out": visible.ratio}
    if thinks:
        estimates["ratio_reasoning"] = reasoning.ratio
    elif reported:
        estimates["reasoning_tokens"] = (reasoning.new[0], sqrt(reasoning.new[1]))
    note = (
        f"plan {rollout.run.name!r:.60}, {visible.before:,} requests of "
        f"{rollout.start:%Y-%m-%d} to {rollout.since:%Y-%m-%d}, {visible.after:,} from then to "
        f"{rollout.until:%Y-%m-%d}"
    )
    for name, (value, error) in estimates.items():
        if value < MAX_VALUE:
            widened = (value, sqrt(error**2 + (drift * value) ** 2))
            yield measured(name, widened, (source, rollout.target), "rollout", note)


def _is_traceable(route: ProposedRoute) -> bool:
    when = route.when
    conditions = (
        when.has_images,
        when.has_audio,
        when.estimated_cost_gt,
        when.estimated_cost_lt,
        route.then.max_cost_usd,
    )
    return all(condition is None for condition in conditions)


def _source(rows: Iterable[_Row], target: str) -> str | None:
    """The model that answered the matching requests before; None if that is not one alone."""
    counts: Counter[str] = Counter()
    for row in rows:
        if not row.after and row.group in ("matched", "served"):
            counts[row.model] += row.visible.n
    most = counts.most_common(1)
    if not most or most[0][0] == target or most[0][1] < (1 - MAX_OTHERS) * counts.total():
        return None
    return most[0][0]


def _drift(rows: Sequence[_Row], old: Sequence[_Row], new: Sequence[_Row]) -> float | None:
    """How much the output of unchanged requests changes by itself, as a share beyond its standard
    error.

    None if that is too much, or cannot be told of the times before and after.
    """
    control = [row for row in rows if row.group == "unchanged"]
    largest = 0.0
    for side in (old, new):
        halves = compare(
            _strata((row for row in side if not row.late), "visible"),
            _strata((row for row in side if row.late), "visible"),
            MIN_REQUESTS // 2,
        )
        if halves is None:
            return None
        largest = max(largest, _excess(halves))
    unchanged = compare(
        _strata((row for row in control if not row.after), "visible", by_model=True),
        _strata((row for row in control if row.after), "visible", by_model=True),
        MIN_REQUESTS,
    )
    if unchanged is not None:
        largest = max(largest, _excess(unchanged))
    return largest if largest <= MAX_DRIFT else None


def _excess(comparison: Comparison) -> float:
    if not comparison.old[0]:
        return 0.0
    ratio, error = comparison.ratio
    return sqrt(max(0.0, (ratio - 1) ** 2 - error**2))


def _strata(rows: Iterable[_Row], amount: str, *, by_model: bool = False) -> Strata:
    strata: dict[Stratum, Moments] = defaultdict(lambda: Moments(0, 0, 0))
    for row in rows:
        stratum = (row.model, *row.stratum) if by_model else row.stratum
        strata[stratum] += getattr(row, amount)
    return strata


# --- the log --------------------------------------------------------------------------------------


def _read_rows(table: ir.Table, rollout: Rollout) -> list[_Row]:
    """Sums of the requests before and after, by group, model and stratum.

    The groups: `matched` by a route to the target, on another model; `served` by the target under
    the same conditions, whatever the model that was asked for; `unchanged` if no route matches.
    """
    import ibis

    from ttplan.engine.cost import NO_ROUTE
    from ttplan.engine.dialects import fetch
    from ttplan.engine.full.rows import modality_columns
    from ttplan.engine.project import matches, route_index
    from ttplan.engine.reconcile.observed import SIZES

    routes, target = rollout.routes, rollout.target
    table = table.mutate(**modality_columns(table, routes))
    own = [n for n, route in enumerate(routes) if route.then.target_model == target]
    asked = [matches(table, _without_model(routes[n].when)) for n in own]
    ids = [str(routes[n].id) for n in own]
    marked = table.matched_route_id.isnull() | table.matched_route_id.cast("string").isin(ids)
    before = table.ts < _instant(rollout.since)
    served = ibis.or_(*asked).fill_null(False) & (table.model == target) & (before | marked)
    middle = before.ifelse(
        _instant(rollout.start + (rollout.since - rollout.start) / 2),
        _instant(rollout.since + (rollout.until - rollout.since) / 2),
    )
    index = route_index(table, routes)
    targets = sorted({route.then.target_model for route in routes})
    size = ibis.cases(
        *((table.input_tokens < bound, n) for n, bound in enumerate(SIZES)), else_=len(SIZES)
    )
    reasoning = ibis.least(table.reasoning_tokens.fill_null(0), table.output_tokens)
    rows = table.select(
        after=~before,
        late=table.ts >= middle,
        group=ibis.cases(
            (served, "served"),
            (index.isin(own) & (table.model != target), "matched"),
            ((index == NO_ROUTE) & ~table.model.isin(targets), "unchanged"),
            else_=None,
        ),
        model=table.model,
        tag=table.tag,
        size=size,
        visible=(table.output_tokens - reasoning).try_cast("decimal(18, 0)"),
        reasoning=reasoning.try_cast("decimal(18, 0)"),
        reported=table.reasoning_tokens.notnull(),
        kept=_is_answer(table, rollout),
    )
    rows = rows.filter(rows.kept, rows.group.notnull())
    by_tag = int(fetch(rows.aggregate(tags=rows.tag.nunique())).to_pylist()[0]["tags"]) <= MOST_TAGS
    keys = ["after", "late", "group", "model", "size", *(["tag"] if by_tag else [])]
    sums = rows.group_by(keys).aggregate(
        n=rows.count(),
        visible=rows.visible.sum(),
        visible_2=(rows.visible * rows.visible).sum(),
        reasoning=rows.reasoning.sum(),
        reasoning_2=(rows.reasoning * rows.reasoning).sum(),
        reported=rows.reported.sum(),
    )
    return [
        _Row(
            after=row["after"],
            late=row["late"],
            group=row["group"],
            model=row["model"],
            stratum=(row["size"], row.get("tag")),
            visible=Moments(row["n"], int(row["visible"]), int(row["visible_2"])),
            reasoning=Moments(row["n"], int(row["reasoning"]), int(row["reasoning_2"])),
            reported=int(row["reported"]),
        )
        for row in fetch(sums).to_pylist()
    ]


def _is_answer(table: ir.Table, rollout: Rollout) -> ir.BooleanValue:
    """Whether a row is an answer of a model: not of a cache, a failure, or without output."""
    import ibis

    own = table.org_id == ibis.literal(str(rollout.run.org_id)).cast(table.org_id.type())
    inside = (table.ts >= _instant(rollout.start)) & (table.ts < _instant(rollout.until))
    answered = ~table.cached & (table.status < 400) & table.output_tokens.between(1, MAX_TOKENS)
    return own & inside & answered


def _without_model(when: RouteConditions) -> RouteConditions:
    return when.model_copy(update={"model_in": ()})


def _instant(at: datetime) -> ir.TimestampScalar:
    import ibis

    return ibis.literal(at, "timestamp('UTC', 6)")
