"""Read TokenTrimmer's routes: the answer of `GET /v1/routes`, or bodies to create them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ttplan.gateways.plan_file import route_id
from ttplan.gateways.rendered import NOT_IN_PLAN, ParsedRoutes, may_overlap
from ttplan.model.errors import InputError
from ttplan.model.gateway import UnsupportedEffect, UnsupportedField
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.util.yaml_files import describe_validation_error

DEFAULT_PRIORITY = 100
_PLAN_FIELDS = {
    "when": set(RouteConditions.model_fields),
    "then": set(RouteAction.model_fields),
}
_ROUTE_FIELDS = {"id", "name", "priority", "enabled", "when", "then"}
_NO_EFFECT: tuple[Any, ...] = (None, False, [], {})
"""Values with which a field that a plan does not know has no effect."""


def from_tokentrimmer(content: Any, where: str) -> ParsedRoutes:
    """Read the routes of a file that `where` names, and what of them a plan cannot express.

    Raises InputError.
    """
    routes = content.get("routes") if isinstance(content, dict) else content
    if not isinstance(routes, list) or not all(isinstance(fields, dict) for fields in routes):
        raise InputError(
            f"{where}: expected a list of TokenTrimmer routes, each with name, priority, when "
            "and then"
        )
    parsed = ParsedRoutes()
    for position, fields in enumerate(routes, 1):
        name = fields.get("name")
        label = f"{where}: route {position}" + (f" ({name!r:.60})" if name else "")
        _read_route(parsed, fields, label)
    parsed.losses += _find_reordered(parsed.routes)
    return parsed


def _read_route(parsed: ParsedRoutes, fields: Mapping[str, Any], where: str) -> None:
    """Add a route, or the reasons why it is left out."""
    parts = {part: fields.get(part) or {} for part in _PLAN_FIELDS}
    if not all(isinstance(values, dict) for values in parts.values()):
        raise InputError(f"{where}: expected when and then to be mappings")
    name = fields.get("name")
    unknown = [
        f"{part}.{key}"
        for part, values in parts.items()
        for key, value in values.items()
        if key not in _PLAN_FIELDS[part] and value not in _NO_EFFECT
    ]
    # Without a condition that a plan cannot check, the route would take other requests.
    left_out = [key for key in unknown if key.startswith("when.")]
    if not parts["then"].get("target_model"):
        left_out.append("then.target_model")
    if fields.get("paused") is True:
        left_out.append("paused")
    if left_out:
        parsed.losses += [_loss(name, key, "is left out") for key in left_out]
        return
    parsed.losses += [_loss(name, key, "goes without it") for key in unknown]
    known = {key: value for key, value in fields.items() if key in _ROUTE_FIELDS}
    for part, values in parts.items():
        known[part] = {key: value for key, value in values.items() if key in _PLAN_FIELDS[part]}
    known["id"] = route_id(fields.get("id"), name)
    try:
        route = ProposedRoute.model_validate({"priority": DEFAULT_PRIORITY} | known)
    except ValidationError as error:
        raise InputError(f"{where}: {describe_validation_error(error)}") from None
    parsed.routes.append(route)


def _loss(name: Any, key: str, effect: UnsupportedEffect) -> UnsupportedField:
    reasons = {"then.target_model": "it has no target", "paused": "the gateway has paused it"}
    reason = reasons.get(key, NOT_IN_PLAN)
    return UnsupportedField(route=str(name), field=key, reason=reason, effect=effect)


def _find_reordered(routes: Sequence[ProposedRoute]) -> list[UnsupportedField]:
    """Return overlapping routes that the gateway tries in the file's order, but a plan by id."""
    return [
        UnsupportedField(
            route=later.name,
            field="priority",
            reason=f"route {earlier.name!r:.60} has the same, stands before it, "
            "and has the higher id",
            effect="is tried in another order",
        )
        for position, earlier in enumerate(routes)
        for later in routes[position + 1 :]
        if earlier.enabled
        and later.enabled
        and earlier.priority == later.priority
        and earlier.id > later.id
        and may_overlap(earlier.when, later.when)
    ]
