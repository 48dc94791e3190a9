"""Whether one request can meet the conditions of two routes."""

from __future__ import annotations

from typing import Any

from ttplan.model.route import RouteConditions


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
