"""Which route takes a request: all routes as one CASE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import reduce
from operator import and_, or_

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import MAX_ROW_MONEY, ROW_MONEY_TYPE
from ttplan.engine.rows import lower
from ttplan.model.money import money_ceiling, money_floor
from ttplan.model.route import ProposedRoute, RouteConditions

NO_ROUTE = -1


def route_index(table: ir.Table, routes: Sequence[ProposedRoute]) -> ir.IntegerColumn:
    """The position in `routes` (in order of precedence) of the first that matches each row, or `NO_ROUTE`."""
    if not routes:
        return ibis.literal(NO_ROUTE, "int16")
    branches = [
        (matches(table, route.when), ibis.literal(i, "int16")) for i, route in enumerate(routes)
    ]
    return ibis.cases(*branches, else_=ibis.literal(NO_ROUTE, "int16"))


def matches(table: ir.Table, when: RouteConditions) -> ir.BooleanValue:
    """Whether all conditions hold. A condition on what a row does not say is false, or null, which CASE takes as false."""
    holds = [
        build(table, getattr(when, name))
        for name, build in _CONDITIONS.items()
        if getattr(when, name) is not None and getattr(when, name) != ()
    ]
    return reduce(and_, holds, ibis.literal(True))


def money_literal(amount: Decimal) -> ir.DecimalScalar:
    """An amount to compare with, kept inside what the column's type can hold; no request's money is out there."""
    return ibis.literal(min(max(amount, -MAX_ROW_MONEY), MAX_ROW_MONEY), ROW_MONEY_TYPE)


def _prompt(table: ir.Table, keywords: tuple[str, ...]) -> ir.BooleanValue:
    if "body_lower" not in table.columns:
        return ibis.literal(False)
    return reduce(or_, (table.body_lower.contains(lower(keyword)) for keyword in keywords))


def _unrecorded(table: ir.Table, wanted: bool) -> ir.BooleanValue:
    """No log says whether a request had images or audio, so neither answer matches."""
    return ibis.literal(False)


_CONDITIONS: dict[str, Callable[..., ir.BooleanValue]] = {
    "model_in": lambda t, models: t.model.isin(models),
    "input_tokens_lt": lambda t, bound: t.input_tokens < bound,
    "input_tokens_gt": lambda t, bound: t.input_tokens > bound,
    "tag_equals": lambda t, tag: t.tag == tag,
    "has_images": _unrecorded,
    "has_audio": _unrecorded,
    "prompt_contains_any_of": _prompt,
    "estimated_cost_gt": lambda t, bound: t.baseline_cost_usd > money_literal(money_floor(bound)),
    "estimated_cost_lt": lambda t, bound: t.baseline_cost_usd < money_literal(money_ceiling(bound)),
}
