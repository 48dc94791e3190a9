"""Routes in a gateway's format: plain data, and what the format cannot express."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ttplan.model.errors import InputError
from ttplan.model.gateway import UnsupportedField
from ttplan.model.route import ProposedRoute, RouteConditions
from ttplan.util.yaml_files import format_yaml

HEADING = (
    "# Written by ttplan from the live routes; what is edited here is lost when they are written "
    "again.\n"
)
SUFFIXES = (".json", ".yaml", ".yml")
LEFT_OUT_NOTE = (
    "Requests of a route that is left out go to the next route that takes them, "
    "or stay as they are."
)
NOT_IN_PLAN = "a plan has no words for it"
"""Why a field of a gateway's file is not in the plan."""


@dataclass
class RenderedRoutes:
    """Routes as plain data for a gateway, what the format cannot express, and notes for users."""

    content: Any
    losses: list[UnsupportedField] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ParsedRoutes:
    """Routes from a gateway's file, and what of it a plan cannot express."""

    routes: list[ProposedRoute] = field(default_factory=list)
    losses: list[UnsupportedField] = field(default_factory=list)


def encode_routes_file(content: Any, suffix: str) -> bytes:
    """Encode plain data as JSON or YAML, by the suffix of the file; equal data gives equal bytes.

    Raises InputError for any other suffix.
    """
    if suffix not in SUFFIXES:
        raise InputError(
            f"a file that ends in {suffix or 'nothing'!r} is not known; "
            f"expected one of {', '.join(SUFFIXES)}"
        )
    if suffix == ".json":
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    return (HEADING + format_yaml(content)).encode()


def find_rounded_bounds(routes: Iterable[ProposedRoute]) -> list[UnsupportedField]:
    """Return the bounds in USD that have more digits than a number in the file keeps."""
    losses = []
    for route in routes:
        bounds = {
            "when.estimated_cost_gt": route.when.estimated_cost_gt,
            "when.estimated_cost_lt": route.when.estimated_cost_lt,
            "then.max_cost_usd": route.then.max_cost_usd,
        }
        losses += [
            UnsupportedField(
                route=route.name,
                field=name,
                reason=f"{value} has more digits than the number in the file keeps",
                effect="has it rounded",
            )
            for name, value in bounds.items()
            if value is not None and Decimal(repr(float(value))) != value
        ]
    return losses


def find_sticky(routes: Iterable[ProposedRoute], reason: str) -> list[UnsupportedField]:
    """Return the routes that follow whole sessions, for gateways that decide by the request.

    Without it, a route would take other requests and split sessions between models.
    """
    return [
        UnsupportedField(route=route.name, field="sticky", reason=reason, effect="is left out")
        for route in routes
        if route.sticky is not None
    ]


def may_overlap(first: RouteConditions, second: RouteConditions) -> bool:
    """Return whether a request may meet both conditions; false only if that is certain."""
    if first.model_in and second.model_in and not set(first.model_in) & set(second.model_in):
        return False
    for name in ("tag_equals", "has_images", "has_audio"):
        values = {getattr(first, name), getattr(second, name)} - {None}
        if len(values) > 1:
            return False
    return all(
        _has_values_between(getattr(lower, f"{name}_gt"), getattr(upper, f"{name}_lt"))
        for name in ("input_tokens", "estimated_cost")
        for lower, upper in ((first, second), (second, first))
    )


def _has_values_between(lower: Any, upper: Any) -> bool:
    return lower is None or upper is None or lower < upper
