"""Which requests a plan rerouted: in its window by the projection, afterwards by the log."""

from __future__ import annotations

from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import fetch
from ttplan.engine.full.rows import failed
from ttplan.engine.project import matches
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.model.route import RouteConditions


def is_marked(live: ir.Table, spec: ReplaySpec) -> bool:
    """Whether the log says which requests the plan's routes took."""
    if "matched_route_id" not in live.columns or not spec.active_routes:
        return False
    return bool(fetch(live.aggregate(n=_taken(live, spec).sum())).to_pylist()[0]["n"])


def rerouted_live(live: ir.Table, spec: ReplaySpec, *, marked: bool) -> ir.BooleanValue:
    """Whether a request that came was rerouted: the target of one of the plan's routes answered it,
    and the log names the route, or, if it names none, the request has the route's tag and size."""
    if not spec.active_routes:
        return ibis.literal(False)
    if marked:
        targets = sorted({route.then.target_model for route in spec.active_routes})
        sent = _taken(live, spec) & live.model.isin(targets)
    else:
        sent = _like_rerouted(live, spec)
    if not spec.is_full:
        return sent
    sent = sent & ~failed(live)
    return sent if spec.projects_hits else sent & ~live.cached


def rerouted_window(mapped: ir.Table, spec: ReplaySpec, *, marked: bool) -> ir.BooleanValue:
    """Whether a request of the window counts as rerouted: the plan moves it, or, if the log cannot
    tell it from those afterwards, its target answered it already."""
    if marked or not spec.active_routes:
        return mapped.moved
    own = _like_rerouted(mapped, spec)
    if spec.is_full:
        own = own & mapped.answered
    return mapped.moved | own


def _taken(live: ir.Table, spec: ReplaySpec) -> ir.BooleanValue:
    ids = [str(route.id) for route in spec.active_routes]
    return live.matched_route_id.cast("string").lower().isin(ids).fill_null(False)


def _like_rerouted(rows: ir.Table, spec: ReplaySpec) -> ir.BooleanValue:
    """Whether a route's target answered a request of the route's tag and size. Other conditions
    cannot be asked of requests that another model answered."""
    return reduce(
        or_,
        (
            (rows.model == route.then.target_model)
            & matches(
                rows,
                RouteConditions(
                    tag_equals=route.when.tag_equals,
                    input_tokens_lt=route.when.input_tokens_lt,
                    input_tokens_gt=route.when.input_tokens_gt,
                ),
            )
            for route in spec.active_routes
        ),
    ).fill_null(False)
