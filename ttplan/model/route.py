"""A proposed route: when its conditions hold, a request goes to its target model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.money import Bound
from ttplan.model.request import Name

# An unknown condition would change which requests match: refused, whoever wrote the file.
_STRICT = ConfigDict(frozen=True, extra="forbid")
TokenBound = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class RouteConditions(BaseModel):
    """Conditions that must all hold. An empty list or null matches anything; all bounds are strict.

    `estimated_cost_*` compare with the request's `baseline_cost_usd`, in USD.
    """

    model_config = _STRICT

    model_in: tuple[str, ...] = ()
    input_tokens_lt: TokenBound | None = None
    input_tokens_gt: TokenBound | None = None
    tag_equals: str | None = None
    has_images: bool | None = None
    has_audio: bool | None = None
    prompt_contains_any_of: tuple[str, ...] = ()
    estimated_cost_gt: Bound | None = None
    estimated_cost_lt: Bound | None = None


class RouteAction(BaseModel):
    """What a matching route does. `max_cost_usd` is the most that one request may cost on the target, in USD."""

    model_config = _STRICT

    target_model: Name
    fallbacks: tuple[str, ...] = ()
    disable_cache: bool = False
    max_cost_usd: Bound | None = None


class ProposedRoute(BaseModel):
    """A route as a plan proposes it. Enabled routes are tried by priority, highest first, ties by id."""

    model_config = _STRICT

    id: UUID
    name: Name
    priority: int = Field(strict=True, ge=0, lt=2**32)
    enabled: bool = Field(default=True, strict=True)
    when: RouteConditions = RouteConditions()
    then: RouteAction


def sort_by_precedence(routes: Iterable[ProposedRoute]) -> list[ProposedRoute]:
    """The enabled routes in the order in which they are tried."""
    return sorted((r for r in routes if r.enabled), key=lambda r: (-r.priority, r.id))


def find_duplicate(routes: Iterable[ProposedRoute]) -> str | None:
    """What the first route that repeats an id or a name repeats, as words for an error; None where all differ."""
    ids: set[UUID] = set()
    names: set[str] = set()
    for route in routes:
        if route.id in ids:
            return f"two routes have the id {route.id}; expected every route id once"
        if route.name in names:
            return f"two routes have the name {route.name!r}; expected every route name once"
        ids.add(route.id)
        names.add(route.name)
    return None
