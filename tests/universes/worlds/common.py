"""Models and routes that several worlds use."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from tests.universes.providers import Model, PromptCache, Rates
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

EXPLICIT = PromptCache("explicit", minimum=1_024, ttl=300, long_ttl=3_600)
AUTOMATIC = PromptCache("automatic", minimum=1_024, ttl=600)
BIG = Model("acme", "big", Rates(2.5, 10))
SMALL = Model("zeta", "small", Rates(1, 4.5))


def route(target: Model | str, *, sticky: bool = False, priority: int = 10, **when: Any) -> Any:
    """A route to a model, named after it and what it takes."""
    model = target if isinstance(target, str) else target.name
    name = " ".join([model, *(f"{k}={v}" for k, v in when.items())])
    return ProposedRoute(
        id=uuid5(UUID(int=0), name),
        name=name,
        priority=priority,
        when=RouteConditions(**when),
        then=RouteAction(target_model=model),
        sticky="session" if sticky else None,
    )
