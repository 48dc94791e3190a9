"""Routes that are live at a TokenTrimmer gateway: what `GET /v1/routes` answers, or a file of bodies to create them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ttplan.gateways.plan_file import route_id
from ttplan.gateways.rendered import ParsedRoutes, may_overlap
from ttplan.model.errors import InputError
from ttplan.model.gateway import UnsupportedEffect, UnsupportedField
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.util.files import describe_validation_error

PRIORITY = 100
"""What a route has that says no priority."""
_OURS = {"when": set(RouteConditions.model_fields), "then": set(RouteAction.model_fields)}
_ROUTE = {"id", "name", "priority", "enabled", "when", "then"}
_OFF: tuple[Any, ...] = (None, False, [], {})
"""What a field that we do not know says nothing by."""


def from_tokentrimmer(content: Any, where: str) -> ParsedRoutes:
    """The routes of a file, and what of them we have no words for. `where` names the file. Raises InputError."""
    listed = content.get("routes") if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise InputError(
            f"{where}: expected a list of TokenTrimmer routes, each with name, priority, when and then"
        )
    found = ParsedRoutes()
    for position, fields in enumerate(listed, 1):
        name = fields.get("name")
        _take(found, fields, f"{where}: route {position}" + (f" ({name!r:.60})" if name else ""))
    found.losses += _reordered(found.routes)
    return found


def _take(found: ParsedRoutes, fields: Mapping[str, Any], where: str) -> None:
    parts = {part: fields.get(part) or {} for part in _OURS}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise InputError(f"{where}: expected when and then to be mappings")
    name = fields.get("name")
    unknown = {
        f"{part}.{key}": value
        for part, values in parts.items()
        for key, value in values.items()
        if key not in _OURS[part] and value not in _OFF
    }
    # A condition that we cannot look at, or a route that only changes how a request is sent: it would take other requests.
    left_out = [key for key in unknown if key.startswith("when.")]
    if not parts["then"].get("target_model"):
        left_out.append("then.target_model")
    if fields.get("paused") is True:
        left_out.append("paused")
    if left_out:
        found.losses += [_loss(name, key, "is left out") for key in left_out]
        return
    found.losses += [_loss(name, key, "goes without it") for key in unknown]
    ours = {
        part: {key: value for key, value in values.items() if key in _OURS[part]}
        for part, values in parts.items()
    }
    known = {key: value for key, value in fields.items() if key in _ROUTE} | ours
    try:
        found.routes.append(
            ProposedRoute.model_validate(
                {"priority": PRIORITY} | known | {"id": route_id(fields.get("id"), name)}
            )
        )
    except ValidationError as error:
        raise InputError(f"{where}: {describe_validation_error(error)}") from None


def _loss(name: Any, key: str, effect: UnsupportedEffect) -> UnsupportedField:
    reasons = {"then.target_model": "it has no target", "paused": "the gateway has paused it"}
    return UnsupportedField(
        route=str(name),
        field=key,
        reason=reasons.get(key, "a plan has no words for it"),
        effect=effect,
    )


def _reordered(routes: Sequence[ProposedRoute]) -> list[UnsupportedField]:
    """The routes that the gateway tries in the file's order and we by their ids, where that can matter."""
    return [
        UnsupportedField(
            route=later.name,
            field="priority",
            reason=f"route {earlier.name!r:.60} has the same, stands before it, and has the higher id",
            effect="is tried in another order",
        )
        for place, earlier in enumerate(routes)
        for later in routes[place + 1 :]
        if earlier.enabled
        and later.enabled
        and earlier.priority == later.priority
        and earlier.id > later.id
        and may_overlap(earlier.when, later.when)
    ]
