"""The rows of a full projection: typed columns, the route of each, and whether it was answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import NO_ROUTE
from ttplan.engine.full.log_facts import COUNTED, long_writes, price_key, web_searches
from ttplan.engine.full.shape import RowShape
from ttplan.engine.full.windows import with_first
from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.rows import PERIODS, typed_columns
from ttplan.model.route import ProposedRoute, RouteConditions
from ttplan.prices.costing import FAILED

FAILURE_REASONS = ("error", "failed", "failure")
"""Values of `finish_reason` that record a failed call."""
_MARKERS = {
    "images": ('"image_url"', '"input_image"', '"type":"image"', '"type": "image"', "data:image/"),
    "audio": ('"input_audio"', '"type":"audio"', '"type": "audio"'),
    "tools": ('"tools":', '"functions":', '"tool_calls"'),
    "structured_output": ('"response_format"', '"json_schema"', '"response_schema"'),
}
"""What a recorded body contains if the request needs a feature of the model."""
_TOKENS_OF = {"images": "input_image_tokens", "audio": "input_audio_tokens"}
Matches = Callable[[ir.Table, RouteConditions], ir.BooleanValue]


def full_rows(
    window: ir.Table, shape: RowShape, cluster: ir.Value | None, matches: Matches
) -> ir.Table:
    """The columns of the window that a full projection reads, with `route` and `hit`."""
    also: dict[str, ir.Value] = {
        name: window[name].cast("int64").fill_null(0) for name in COUNTED if name in shape.kinds
    }
    also |= {name: value for name, value in price_key(window).items() if name in shape.keys}
    also |= {f"needs_{name}": _needs(window, name, shape) for name in shape.features}
    if shape.hour_writes:
        also["long_writes"] = ibis.least(long_writes(window), also["cache_write_tokens"])
    if shape.hashes:
        also["prompt_hash"] = hash_of_prompt(window)
    if shape.fees:
        also["searches"] = web_searches(window)
    also["failed"] = failed(window)
    if shape.session is not None:
        also["session"] = window[shape.session].cast("string")
    if cluster is not None:
        also["cluster"] = cluster
    if shape.minutes:
        also["minute"] = period_start(window.ts, PERIODS["minute"])
    modalities = modality_columns(window, shape.routes)
    rows = typed_columns(window, **also, **modalities)
    rows = with_route(rows, shape.routes, matches).mutate(hit=ibis.literal(False))
    rows = rows.drop(*modalities)
    if "body_lower" not in rows.columns:
        return rows
    # The conditions have read the body; from here on only its presence matters.
    return rows.mutate(body_lower=rows.body_lower.notnull().ifelse("", ibis.null("string")))


def hash_of_prompt(window: ir.Table) -> ir.StringValue:
    """The hash of the prompt, null if it is not known."""
    return window.prompt_hash if "prompt_hash" in window.columns else ibis.null("string")


def modality_columns(window: ir.Table, routes: Sequence[ProposedRoute]) -> dict[str, ir.Value]:
    """The columns `has_images` and `has_audio` that conditions of the routes ask for: null if a row
    has neither the count of these tokens nor a body."""
    columns: dict[str, ir.Value] = {}
    for name, counted in _TOKENS_OF.items():
        if all(getattr(route.when, f"has_{name}") is None for route in routes):
            continue
        has, known = ibis.literal(False), ibis.literal(False)
        if counted in window.columns:
            has, known = (window[counted] > 0).fill_null(False), window[counted].notnull()
        if "body_lower" in window.columns:
            has, known = has | _marked(window, name), known | window.body_lower.notnull()
        columns[f"has_{name}"] = known.ifelse(has, ibis.null("boolean"))
    return columns


def failed(window: ir.Table) -> ir.BooleanValue:
    """Whether a request failed, by its status or in words."""
    result: ir.BooleanValue = ibis.literal(False)
    if "status" in window.columns:
        result = (window.status >= FAILED).fill_null(False)
    if "finish_reason" in window.columns:
        result = result | window.finish_reason.isin(FAILURE_REASONS).fill_null(False)
    return result


def _needs(window: ir.Table, name: str, shape: RowShape) -> ir.BooleanValue:
    """Whether a row records that the request needs a feature of the model."""
    needs: ir.BooleanValue = ibis.literal(False)
    counted = _TOKENS_OF.get(name)
    if counted is not None and counted in shape.kinds:
        needs = (window[counted] > 0).fill_null(False)
    return needs | _marked(window, name) if "body_lower" in window.columns else needs


def _marked(window: ir.Table, name: str) -> ir.BooleanValue:
    """Whether the body shows that the request needs a feature."""
    markers = (window.body_lower.contains(marker) for marker in _MARKERS[name])
    return reduce(or_, markers).fill_null(False)


def with_route(rows: ir.Table, routes: Sequence[ProposedRoute], matches: Matches) -> ir.Table:
    """`rows` with `route`: the position of the first route that takes each, or `NO_ROUTE`.

    A sticky route asks the first request of each `session`, if there is such a column.
    """
    if not routes:
        return rows.mutate(route=ibis.literal(NO_ROUTE, "int16"))
    added: list[str] = []
    for i, route in enumerate(routes):
        own = matches(rows, route.when)
        if route.sticky and "session" in rows.columns:
            added += [f"own_{i}", f"first_{i}"]
            rows = rows.mutate(**{f"own_{i}": own.fill_null(False)})
            rows = with_first(rows, "session", f"own_{i}", f"first_{i}")
    branches = []
    for i, route in enumerate(routes):
        condition = matches(rows, route.when)
        if f"first_{i}" in added:
            condition = rows.session.notnull().ifelse(rows[f"first_{i}"], condition)
        branches.append((condition, ibis.literal(i, "int16")))
    routed = rows.mutate(route=ibis.cases(*branches, else_=ibis.literal(NO_ROUTE, "int16")))
    return routed.drop(*added)
