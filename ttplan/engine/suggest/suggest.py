"""Suggests routes from a log: one half of a window chooses them, the other half confirms them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from uuid import NAMESPACE_URL, UUID, uuid5

import ibis.expr.types as ir

from ttplan.engine.cost import target_prices
from ttplan.engine.intervals.edgeworth import UNTRUSTED_ERROR, draw_of_total
from ttplan.engine.intervals.infer import FEW
from ttplan.engine.intervals.moments import LOWER, UPPER
from ttplan.engine.project import map_requests, map_window
from ttplan.engine.replay import FIRST_INSTANT, LAST_INSTANT, NIL
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import LeftOut, count_window
from ttplan.engine.suggest.division import Choice, Segment, divide
from ttplan.engine.suggest.segments import (
    Segments,
    Sums,
    add_sums,
    cut_segments,
    on_targets,
    on_targets_in_full,
)
from ttplan.engine.summary import usd
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.suggestion import Suggestion, Suggestions
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

DIMENSIONS = ("tag", "model", "input_tokens")
NAMESPACE = uuid5(NAMESPACE_URL, "ttplan:suggested-routes")
"""The namespace of the ids of suggested routes: the same route has the same id in every log."""
MIN_SHARE, LIMIT = 0.01, 20
_SHOWN = 40


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

    The half of the window in which the first half of the requests arrived chooses the routes: of
    all ways to divide its requests into routes, the one that saves most. The other half confirms
    each route, with its own figures and their interval by method `limit`, for which all requests of
    that half are resampled. Costs are those of a replay without a projected cache, to the last
    digit. The order of rows does not change the result.

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
    notes = [*_unpriced(targets, priced), *_left_out(left_out)]
    if not count:
        return _no_suggestions(spec, notes)
    with _on_targets(table, spec, priced) as (rows, limits):
        log = cut_segments(rows, count, dimensions, priced, limits)
    cost = sum(sums.actual for sums in log.selecting.values())
    division, candidates = divide(log, dimensions, charge=int(cost * Fraction(min_share)))
    ranked = sorted(
        division.choices, key=lambda choice: (-choice.saved, _words(choice.segment, log))
    )
    held_out = sum(sums.requests for sums in log.held_out.values())
    if len(ranked) > limit:
        notes.append(
            f"{len(ranked) - limit:,} more routes were found, which save less than these; a higher "
            f"limit shows them."
        )
    return Suggestions(
        org_id=spec.org_id,
        window_start=spec.window_start,
        split_at=log.split_at,
        window_end=spec.window_end,
        requests=count,
        heldout_requests=held_out,
        candidates=candidates,
        items=tuple(_suggestions(ranked[:limit], log, held_out)),
        notes=(*notes, *_unreachable(log, dimensions)),
    )


@contextmanager
def _on_targets(
    table: ir.Table, spec: ReplaySpec, targets: Sequence[str]
) -> Iterator[tuple[ir.Table, set[int]]]:
    """The rows with their cost on each target, for the block, and the context windows of the
    targets, as far as they are known."""
    if not spec.is_full:
        with map_requests(table, spec) as rows:
            yield on_targets(rows, targets, spec.pricing), set()
        return
    with ExitStack() as stack:
        windows = [
            stack.enter_context(map_window(table, replace(spec, routes=(_everything(target),))))
            for target in targets
        ]
        facts = {
            pair.target_facts.capabilities.context_tokens
            for window in windows
            if window.full is not None
            for pair in window.full.pairs
        }
        rows = on_targets_in_full([window.rows for window in windows], targets)
        yield rows, {limit for limit in facts if limit is not None}


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


# --- confirming, in the held-out half -------------------------------------------------------------


def _suggestions(ranked: Sequence[Choice], log: Segments, held_out: int) -> Iterator[Suggestion]:
    names: set[str] = set()
    for rank, choice in enumerate(ranked):
        name = _name(choice, log)
        if name in names:  # two tags that read the same once they are cut
            name = next(
                f"{name} ({n})" for n in range(2, len(ranked) + 2) if f"{name} ({n})" not in names
            )
        names.add(name)
        route = _route(choice, log, name, priority=10 * (len(ranked) - rank))
        first, second = (
            add_sums(
                [sums for key, sums in half.items() if choice.segment.covers(key)], len(log.targets)
            )
            for half in (log.selecting, log.held_out)
        )
        yield _confirm(route, choice, first, second, log.steps[choice.target], held_out)


def _confirm(
    route: ProposedRoute, choice: Choice, first: Sums, second: Sums, step: int, held_out: int
) -> Suggestion:
    on = second.targets[choice.target]
    draw = draw_of_total({1: on.p1, 2: on.p2, 3: on.p3, 4: on.p4}, step, on.saved, held_out)
    ends = draw.quantile_of_sum(held_out, LOWER), draw.quantile_of_sum(held_out, UPPER)
    skew, excess = draw.shape_of_sum(held_out)
    # As skew as a sum that 11 equal requests carry: where replay, too, no longer trusts the
    # expansion.
    carried_by_few = abs(skew) > UNTRUSTED_ERROR or excess > UNTRUSTED_ERROR**2
    note = ""
    if second.requests < FEW:
        note = (
            f"too few to confirm: {second.requests:,} requests in the held-out half, "
            f"fewer than {FEW}"
        )
    elif carried_by_few:
        note = "too few to confirm: a few requests carry most of the change in the held-out half"
    elif on.saved <= 0:
        note = "the held-out half saves nothing"
    elif ends[0] <= 0:
        note = "the held-out half may as well save nothing: its interval reaches 0"
    return Suggestion(
        route=route,
        requests=first.requests + second.requests,
        baseline_cost_usd=usd(first.baseline + second.baseline),
        actual_cost_usd=usd(first.actual + second.actual),
        projected_cost_usd=usd(first.targets[choice.target].projected + on.projected),
        selected_savings_usd=usd(choice.saved),
        heldout_requests=second.requests,
        heldout_cost_usd=usd(second.actual),
        heldout_savings_usd=usd(on.saved),
        heldout_savings_usd_95=ends,
        confirmed=not note,
        note=note,
    )


# --- text ----------------------------------------------------------------------------------------


def _route(choice: Choice, log: Segments, name: str, priority: int) -> ProposedRoute:
    """The route of a choice. Bounds are strict: 1,000 or more is above 999."""
    segment = choice.segment
    when = RouteConditions(
        model_in=() if segment.model is None else (segment.model,),
        tag_equals=segment.tag,
        input_tokens_gt=log.bounds[segment.low - 1] - 1 if segment.low else None,
        input_tokens_lt=log.bounds[segment.high - 1] if segment.high <= len(log.bounds) else None,
    )
    then = RouteAction(target_model=log.targets[choice.target])
    identity = " ".join(part.model_dump_json(exclude_defaults=True) for part in (when, then))
    return ProposedRoute(
        id=uuid5(NAMESPACE, identity), name=name, priority=priority, when=when, then=then
    )


def _name(choice: Choice, log: Segments) -> str:
    return (
        f"{', '.join(_words(choice.segment, log)) or 'everything'} → "
        f"{_shown(log.targets[choice.target])}"
    )


def _words(segment: Segment, log: Segments) -> list[str]:
    low = log.bounds[segment.low - 1] if segment.low else None
    high = log.bounds[segment.high - 1] if segment.high <= len(log.bounds) else None
    sizes = {
        (False, False): [],
        (False, True): [f"under {high or 0:,} tokens"],
        (True, False): [f"from {low or 0:,} tokens"],
        (True, True): [f"{low or 0:,} to {(high or 1) - 1:,} tokens"],
    }
    named = [_shown(name) for name in (segment.tag, segment.model) if name is not None]
    return named + sizes[(low is not None, high is not None)]


def _shown(name: str) -> str:
    """A tag or model in a route's name: one printable line, shortened if it is long."""
    flat = "".join(char if char.isprintable() else " " for char in name)
    text = " ".join(flat.split()) or repr(name)[: _SHOWN + 2]
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _unpriced(targets: Sequence[str], priced: Sequence[str]) -> Iterator[str]:
    for target in targets:
        if target not in priced:
            yield f"No price for {_shown(target)}: nothing is proposed for it."


def _left_out(left_out: LeftOut) -> Iterator[str]:
    if left_out.outside_window:
        yield f"{left_out.outside_window:,} requests outside the window left out."
    if left_out.other_org:
        yield f"{left_out.other_org:,} requests of another organisation left out."


def _unreachable(log: Segments, by: Sequence[str]) -> Iterator[str]:
    if log.untagged and "tag" in by:
        yield (
            f"{log.untagged:,} requests have no tag: only a route without a condition on the tag "
            f"takes them."
        )
    for name, count in log.pooled.items():
        yield (
            f"Only the {count} most costly {name}s are told apart; no condition on the {name} "
            f"takes the others."
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
