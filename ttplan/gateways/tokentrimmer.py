"""Write TokenTrimmer's routes: bodies for `POST /v1/routes` (route contract version 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ttplan.gateways.rendered import RenderedRoutes, find_rounded_bounds, find_sticky
from ttplan.model.gateway import UnsupportedField
from ttplan.model.route import ProposedRoute

VERSION = 1
# The gateway stores a priority as a signed and token bounds as an unsigned 32-bit integer.
MAX_PRIORITY, MAX_TOKENS = 2**31 - 1, 2**32 - 1


def to_tokentrimmer(routes: Sequence[ProposedRoute]) -> RenderedRoutes:
    """Render routes in the order in which to create them: by precedence, disabled ones last."""
    ordered = sorted(routes, key=lambda route: (not route.enabled, -route.priority, route.id))
    losses = [loss for route in ordered for loss in _find_excessive_values(route)]
    losses += find_sticky(
        ordered, "it checks the conditions of each request, and knows no sessions"
    )
    left_out = {loss.route for loss in losses}
    written = [route for route in ordered if route.name not in left_out]
    losses += find_rounded_bounds(written)
    return RenderedRoutes([_render(route) for route in written], losses, _notes(written))


def _find_excessive_values(route: ProposedRoute) -> list[UnsupportedField]:
    bounds = {
        "priority": (route.priority, MAX_PRIORITY),
        "when.input_tokens_lt": (route.when.input_tokens_lt, MAX_TOKENS),
        "when.input_tokens_gt": (route.when.input_tokens_gt, MAX_TOKENS),
    }
    return [
        UnsupportedField(
            route=route.name,
            field=name,
            reason=f"{value} is more than the {maximum} that it keeps",
            effect="is left out",
        )
        for name, (value, maximum) in bounds.items()
        if value is not None and value > maximum
    ]


def _render(route: ProposedRoute) -> dict[str, Any]:
    """Return the body of a route, without fields that are not set, as the gateway returns it."""
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
        "The gateway gives each route an id of its own when it is created; "
        "ours are not in the file."
    ]
    if len({route.priority for route in written}) < len(written):
        notes.append(
            "Create them in the file's order: of routes of one priority the gateway tries "
            "the oldest first."
        )
    if any(_has_estimated_bounds(route) for route in written):
        notes.append(
            "The gateway compares bounds on tokens and cost with its own estimates, made before "
            "the request is sent."
        )
    return notes


def _has_estimated_bounds(route: ProposedRoute) -> bool:
    names = ("input_tokens_lt", "input_tokens_gt", "estimated_cost_gt", "estimated_cost_lt")
    bounds = [route.then.max_cost_usd, *(getattr(route.when, name) for name in names)]
    return any(bound is not None for bound in bounds)
