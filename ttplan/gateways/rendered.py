"""What a gateway's words for routes come to: plain data, and what they cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ttplan.model.errors import InputError
from ttplan.model.gateway import UnsupportedField
from ttplan.model.route import ProposedRoute, RouteConditions
from ttplan.util.files import format_yaml

HEADING = "# Written by ttplan from the live routes; what is edited here is lost when they are written again.\n"
SUFFIXES = (".json", ".yaml", ".yml")


LEFT_OUT_NOTE = "Requests of a route that is left out go to the next route that takes them, or stay as they are."


@dataclass
class RenderedRoutes:
    """Routes as plain data that a gateway reads, what that does not say of them, and what to know when using it."""

    content: Any
    losses: list[UnsupportedField] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ParsedRoutes:
    """Routes that a gateway's file comes to, and what it says of them that we have no words for."""

    routes: list[ProposedRoute] = field(default_factory=list)
    losses: list[UnsupportedField] = field(default_factory=list)


def encode_routes_file(content: Any, suffix: str) -> bytes:
    """Plain data as JSON or YAML, by the suffix of the file that it goes to; the same data is the same bytes.

    Raises InputError for a suffix that is neither.
    """
    if suffix not in SUFFIXES:
        raise InputError(
            f"a file that ends in {suffix or 'nothing'!r} is not known; expected one of {', '.join(SUFFIXES)}"
        )
    if suffix == ".json":
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    return (HEADING + format_yaml(content)).encode()


def find_rounded_bounds(routes: Iterable[ProposedRoute]) -> list[UnsupportedField]:
    """The bounds in USD that have more digits than a number in these files keeps."""
    return [
        UnsupportedField(
            route=route.name,
            field=name,
            reason=f"{value} has more digits than the number in the file keeps",
            effect="has it rounded",
        )
        for route in routes
        for name, value in _bounds(route).items()
        if value is not None and Decimal(repr(float(value))) != value
    ]


def _bounds(route: ProposedRoute) -> dict[str, Decimal | None]:
    return {
        "when.estimated_cost_gt": route.when.estimated_cost_gt,
        "when.estimated_cost_lt": route.when.estimated_cost_lt,
        "then.max_cost_usd": route.then.max_cost_usd,
    }


def may_overlap(one: RouteConditions, other: RouteConditions) -> bool:
    """Whether a request may meet both; false only where that is certain."""
    if one.model_in and other.model_in and not set(one.model_in) & set(other.model_in):
        return False
    for name in ("tag_equals", "has_images", "has_audio"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine is not None and theirs is not None and mine != theirs:
            return False
    return all(
        _meet(getattr(one, f"{name}_gt"), getattr(other, f"{name}_lt"))
        and _meet(getattr(other, f"{name}_gt"), getattr(one, f"{name}_lt"))
        for name in ("input_tokens", "estimated_cost")
    )


def _meet(above: Any, below: Any) -> bool:
    """Whether something can be above the one and below the other."""
    return above is None or below is None or above < below
