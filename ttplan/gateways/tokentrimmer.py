"""TokenTrimmer's routes: a list of bodies for `POST /v1/routes`, as its route contract version 1 has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ttplan.gateways.rendered import RenderedRoutes, find_rounded_bounds
from ttplan.model.gateway import UnsupportedField
from ttplan.model.route import ProposedRoute

VERSION = 1
# The gateway keeps a priority as a 32-bit integer of PostgreSQL, and bounds on tokens as an unsigned one.
MOST_PRIORITY, MOST_TOKENS = 2**31 - 1, 2**32 - 1


def to_tokentrimmer(routes: Sequence[ProposedRoute]) -> RenderedRoutes:
    """Routes in TokenTrimmer's words, by precedence, disabled ones last: in that order they are to be created."""
    ordered = sorted(routes, key=lambda route: (not route.enabled, -route.priority, route.id))
    losses = [loss for route in ordered for loss in _too_large(route)]
    unsaid = {loss.route for loss in losses}
    written = [route for route in ordered if route.name not in unsaid]
    return RenderedRoutes(
        [_body(route) for route in written],
        [*losses, *find_rounded_bounds(written)],
        _notes(written),
    )


def _too_large(route: ProposedRoute) -> list[UnsupportedField]:
    bounds = {
        "priority": (route.priority, MOST_PRIORITY),
        "when.input_tokens_lt": (route.when.input_tokens_lt, MOST_TOKENS),
        "when.input_tokens_gt": (route.when.input_tokens_gt, MOST_TOKENS),
    }
    return [
        UnsupportedField(
            route=route.name,
            field=name,
            reason=f"{value} is more than the {most} that it keeps",
            effect="is left out",
        )
        for name, (value, most) in bounds.items()
        if value is not None and value > most
    ]


def _body(route: ProposedRoute) -> dict[str, Any]:
    """What the gateway is sent; what is not set is left out, as it leaves it out itself."""
    return {
        "schema_version": VERSION,
        "name": route.name,
        "priority": route.priority,
        "enabled": route.enabled,
        "when": route.when.model_dump(mode="json", exclude_defaults=True),
        "then": route.then.model_dump(mode="json", exclude_defaults=True),
    }


def _notes(written: Sequence[ProposedRoute]) -> list[str]:
    notes = [
        "The gateway gives each route an id of its own when it is created; ours are not in the file."
    ]
    if len({route.priority for route in written}) < len(written):
        notes.append(
            "Create them in the file's order: of routes of one priority the gateway tries the oldest first."
        )
    if any(_estimates(route) for route in written):
        notes.append(
            "The gateway compares bounds on tokens and cost with its own estimates, made before the request is sent."
        )
    return notes


def _estimates(route: ProposedRoute) -> bool:
    when = route.when
    bounds = (
        when.input_tokens_lt,
        when.input_tokens_gt,
        when.estimated_cost_gt,
        when.estimated_cost_lt,
        route.then.max_cost_usd,
    )
    return any(bound is not None for bound in bounds)
