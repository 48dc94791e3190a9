"""Suggests routes from a log: one half of a window chooses them, the other half confirms them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from uuid import UUID

import ibis.expr.types as ir

from ttplan.engine.caveats import scarce_units
from ttplan.engine.cost import target_prices
from ttplan.engine.dialects import materialised
from ttplan.engine.project import map_window
from ttplan.engine.replay import FIRST_INSTANT, LAST_INSTANT, NIL
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import count_window
from ttplan.engine.suggest.confirm import Check, chance_share, check_routes, why_unconfirmed
from ttplan.engine.suggest.division import Choice, divide
from ttplan.engine.suggest.halves import split_log
from ttplan.engine.suggest.segments import (
    Segments,
    Sums,
    add_sums,
    cut_segments,
    fetch_totals,
)
from ttplan.engine.suggest.targets import on_targets, on_targets_in_full, with_began
from ttplan.engine.suggest.text import (
    describe_segment,
    left_out_notes,
    make_route,
    nothing_saved,
    route_name,
    unpriced,
    unreachable,
    unserved_notes,
)
from ttplan.engine.summary import usd
from ttplan.model.errors import InputError
from ttplan.model.plan import AUTO
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.suggestion import Suggestion, Suggestions
from ttplan.model.route import ProposedRoute, RouteAction

DIMENSIONS = ("tag", "model", "input_tokens")
MIN_SHARE, LIMIT = 0.01, 20


def suggest(
    table: ir.Table,
    target_models: Sequence[str],
    by: Sequence[str] = DIMENSIONS,
    prices: Mapping[str, ModelPricing] | None = None,
    *,
    org_id: UUID,
    window_start: datetime = FIRST_INSTANT,
    window_end: datetime = LAST_INSTANT,
    min_share: float = MIN_SHARE,
    limit: int = LIMIT,
) -> Suggestions:
    """Suggest routes that would have saved money, ranked by projected savings. They do not overlap.

    Units (requests, or whole sessions or blocks of time if savings vary by them) that begin in the
    first half of the window choose the routes: of all ways to divide their requests into routes,
    the one that saves most. The others confirm each route, with its own figures and their interval
    by method `hall`. The probability that any route that saves nothing is confirmed is at most 5 %.
    Costs are those of a replay without a projected cache, to the last digit. The order of rows does
    not change the result.

    Parameters
    ----------
    table
        A table with the columns of `ttplan.engine.rows.SCHEMA`.
    target_models
        The models that routes may go to. A model without a price is left out, with a note.
    by
        The dimensions that conditions may use: ``tag``, ``model``, ``input_tokens``.
    prices
        Prices in USD per million tokens, by ``provider:model``.
    org_id
        The organisation of the requests. Requests of others are left out.
    window_start, window_end
        The window, as timezone-aware datetimes: inclusive, exclusive. The whole table by default.
    min_share
        The share (0..1) of the choosing half's cost that each route must save.
    limit
        The number of routes to return, at least 1.

    Returns
    -------
    Suggestions
        The routes with their figures in USD, and notes.

    Raises
    ------
    InputError
        If an argument or the table cannot be used, or no target has a price.

    Examples
    --------
    >>> import ibis
    >>> from uuid import UUID
    >>> from ttplan import ModelPricing, suggest
    >>> from ttplan.engine.rows import to_arrow
    >>> prices = {"openai:mini": ModelPricing(input_per_million=1, output_per_million=2)}
    >>> suggest(ibis.memtable(to_arrow([])), ["mini"], prices=prices, org_id=UUID(int=2)).notes
    ('There are no requests in the window.',)
    """
    spec = ReplaySpec(NIL, org_id, window_start, window_end, (), prices or {})
    return suggest_by_spec(table, spec, target_models, by, min_share=min_share, limit=limit)


def suggest_by_spec(
    table: ir.Table,
    spec: ReplaySpec,
    target_models: Sequence[str],
    by: Sequence[str],
    *,
    min_share: float,
    limit: int,
) -> Suggestions:
    """As `suggest`, at the costs of a spec's projection. Raises InputError."""
    targets, dimensions = _checked(target_models, by, min_share, limit)
    pricing = spec.pricing
    # A price under None is for every provider; without it, some requests would have no price.
    priced = [target for target in targets if None in dict(target_prices(target, pricing))]
    if not priced:
        raise InputError(
            f"no price for any of the target models {', '.join(targets)}; give prices as "
            f"provider:model"
        )
    spec.check()
    count, left_out = count_window(table, spec)
    notes = [*unpriced(targets, priced), *left_out_notes(left_out)]
    if not count:
        return _no_suggestions(spec, notes)
    window = spec.window_start, spec.window_end
    with _on_targets(table, spec, priced) as (rows, limits, session):
        totals = fetch_totals(rows, dimensions, len(priced))
        halves = split_log(rows, count, totals, session, window)
        late = halves.late(rows)
        log = cut_segments(rows, late, totals, count, dimensions, priced, limits)
        cost = sum(sums.actual for sums in log.selecting.values())
        comparison = divide(log, dimensions, charge=int(cost * Fraction(min_share)))
        ranked = sorted(
            comparison.best.choices,
            key=lambda choice: (-choice.saved, describe_segment(choice.segment, log)),
        )
        parts = [_sums_of(choice, log) for choice in ranked]
        checks = check_routes(
            rows, log, halves, ranked, [held_out for _, held_out in parts], spec.window_end
        )
    if len(ranked) > limit:
        notes.append(
            f"{len(ranked) - limit:,} more routes were found, which save less than these; a higher "
            f"limit shows them."
        )
    if not ranked:
        notes.insert(0, nothing_saved(priced, min_share))
    return Suggestions(
        org_id=spec.org_id,
        window_start=spec.window_start,
        split_at=halves.split_at,
        window_end=spec.window_end,
        requests=count,
        heldout_requests=sum(sums.requests for sums in log.held_out.values()),
        candidates=comparison.candidates,
        items=tuple(_suggestions(ranked[:limit], log, parts, checks)),
        notes=(
            *notes,
            *unserved_notes(comparison.unserved),
            *unreachable(log, dimensions),
            *scarce_units(halves.choice.scarce, halves.choice.name, "judge by"),
        ),
        interval_unit=halves.choice.name,
        tried=len(ranked),
        chance_share=chance_share(len(ranked)) if ranked else None,
    )


@contextmanager
def _on_targets(
    table: ir.Table, spec: ReplaySpec, targets: Sequence[str]
) -> Iterator[tuple[ir.Table, set[int], str | None]]:
    """The rows with their cost on each target, for the block, the context windows of the targets,
    as far as they are known, and the column that clusters are of, if the log has one."""
    config = spec.config.model_copy(update={"cluster": AUTO})
    spec = replace(spec, config=config, unit=None)
    with ExitStack() as stack:
        if spec.is_full:
            windows = [
                stack.enter_context(map_window(table, replace(spec, routes=(_everything(target),))))
                for target in targets
            ]
            rows = on_targets_in_full([window.rows for window in windows], targets)
        else:
            windows = [stack.enter_context(map_window(table, spec))]
            rows = on_targets(windows[0].rows, targets, spec.pricing)
        facts = {
            pair.target_facts.capabilities.context_tokens
            for window in windows
            if window.full is not None
            for pair in window.full.pairs
        }
        kept = stack.enter_context(materialised(with_began(rows)))
        yield kept, {limit for limit in facts if limit is not None}, windows[0].session


def _everything(target: str) -> ProposedRoute:
    """A route that sends all requests to a target."""
    action = RouteAction(target_model=target)
    return ProposedRoute(id=NIL, name=target, priority=0, then=action)


def _checked(
    target_models: Sequence[str], by: Sequence[str], min_share: float, limit: int
) -> tuple[list[str], list[str]]:
    targets = sorted({target_models} if isinstance(target_models, str) else set(target_models))
    dimensions = {by} if isinstance(by, str) else set(by)
    if not targets or not all(isinstance(target, str) and target for target in targets):
        raise InputError("target_models names no model; expected at least one, such as gpt-4o-mini")
    unknown = sorted(dimensions - set(DIMENSIONS))
    if unknown or not dimensions:
        problem = f"has {unknown[0]!r}" if unknown else "is empty"
        raise InputError(f"by {problem}; expected one or more of {', '.join(DIMENSIONS)}")
    if not 0 <= min_share <= 1:
        raise InputError(f"min_share is {min_share}; expected a share from 0 to 1")
    if limit < 1:
        raise InputError(f"limit is {limit}; expected at least 1")
    return targets, [name for name in DIMENSIONS if name in dimensions]


def _sums_of(choice: Choice, log: Segments) -> tuple[Sums, Sums]:
    """The sums of a choice's requests in the selecting and in the held-out half."""
    selecting, held_out = (
        add_sums(
            [sums for key, sums in half.items() if choice.segment.covers(key)], len(log.targets)
        )
        for half in (log.selecting, log.held_out)
    )
    return selecting, held_out


def _suggestions(
    ranked: Sequence[Choice],
    log: Segments,
    parts: Sequence[tuple[Sums, Sums]],
    checks: Sequence[Check],
) -> Iterator[Suggestion]:
    names: set[str] = set()
    for rank, choice in enumerate(ranked):
        name = route_name(choice, log)
        if name in names:  # two tags that read the same once they are cut
            name = next(
                f"{name} ({n})" for n in range(2, len(ranked) + 2) if f"{name} ({n})" not in names
            )
        names.add(name)
        route = make_route(choice, log, name, priority=10 * (len(ranked) - rank))
        yield _suggestion(route, choice, *parts[rank], checks[rank], len(checks))


def _suggestion(
    route: ProposedRoute, choice: Choice, first: Sums, second: Sums, check: Check, tried: int
) -> Suggestion:
    before, on = first.targets[choice.target], second.targets[choice.target]
    note = why_unconfirmed(check, second.requests, tried)
    return Suggestion(
        route=route,
        requests=first.requests + second.requests,
        baseline_cost_usd=usd(first.baseline + second.baseline),
        actual_cost_usd=usd(first.actual + second.actual),
        projected_cost_usd=usd(before.projected + on.projected),
        selected_savings_usd=usd(choice.saved),
        heldout_requests=second.requests,
        heldout_cost_usd=usd(second.actual),
        heldout_savings_usd=usd(on.saved),
        heldout_savings_usd_95=check.interval,
        confirmed=not note,
        note=note,
        adjusted_p_value=check.adjusted,
        interval_unit=check.unit,
        unserved_requests=before.unserved + on.unserved,
    )


def _no_suggestions(spec: ReplaySpec, notes: Sequence[str]) -> Suggestions:
    return Suggestions(
        org_id=spec.org_id,
        window_start=spec.window_start,
        split_at=None,
        window_end=spec.window_end,
        requests=0,
        heldout_requests=0,
        candidates=0,
        items=(),
        notes=(*notes, "There are no requests in the window."),
    )
