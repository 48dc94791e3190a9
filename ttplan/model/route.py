"""A proposed route: a request that meets its conditions goes to its target model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from ttplan.model.base import FrozenModel, NonEmptyText, OmitsDefaults
from ttplan.model.money import Bound

TokenBound = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


# These models refuse unknown fields: an unknown condition would change which requests match.
class RouteConditions(FrozenModel):
    """Conditions that must all hold. An empty list or None matches anything.

    Parameters
    ----------
    model_in : sequence of str
    input_tokens_lt, input_tokens_gt : int, optional
        Exclusive bounds.
    tag_equals : str, optional
    has_images, has_audio : bool, optional
    prompt_contains_any_of : sequence of str
        Keywords, regardless of case.
    estimated_cost_gt, estimated_cost_lt : Decimal, float or int, optional
        Exclusive bounds of the request's `baseline_cost_usd`, in USD.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.RouteConditions(model_in=["gpt-4o"], input_tokens_lt=500).input_tokens_lt
    500
    """

    model_in: tuple[str, ...] = ()
    input_tokens_lt: TokenBound | None = None
    input_tokens_gt: TokenBound | None = None
    tag_equals: str | None = None
    has_images: bool | None = None
    has_audio: bool | None = None
    prompt_contains_any_of: tuple[str, ...] = ()
    estimated_cost_gt: Bound | None = None
    estimated_cost_lt: Bound | None = None


class RouteAction(FrozenModel):
    """What a matching route does.

    Parameters
    ----------
    target_model : str
    fallbacks : sequence of str
        Models to try after the target, in order.
    disable_cache : bool
    max_cost_usd : Decimal, float or int, optional
        The most that one request may cost on the target, in USD.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.RouteAction(target_model="gpt-4o-mini").disable_cache
    False
    """

    target_model: NonEmptyText
    fallbacks: tuple[str, ...] = ()
    disable_cache: bool = False
    max_cost_usd: Bound | None = None


class ProposedRoute(OmitsDefaults, FrozenModel):
    """A route as a plan proposes it.

    Parameters
    ----------
    id : UUID
        Identity of the route; it stays the same after a rename.
    name : str
    priority : int
        Enabled routes are tried by priority, highest first, ties by id.
    enabled : bool
    when : RouteConditions
    then : RouteAction
    sticky : {"session"}, optional
        Ask the conditions of a session's first request only: the whole session follows it.

    Examples
    --------
    >>> from uuid import UUID
    >>> import ttplan
    >>> route = ttplan.ProposedRoute(
    ...     id=UUID(int=1),
    ...     name="short chat",
    ...     priority=10,
    ...     when={"input_tokens_lt": 500},
    ...     then={"target_model": "gpt-4o-mini"},
    ... )
    >>> route.then.target_model
    'gpt-4o-mini'
    """

    id: UUID
    name: NonEmptyText
    priority: int = Field(strict=True, ge=0, lt=2**32)
    enabled: bool = Field(default=True, strict=True)
    when: RouteConditions = RouteConditions()
    then: RouteAction
    sticky: Literal["session"] | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset({"sticky"})


def sort_by_precedence(routes: Iterable[ProposedRoute]) -> list[ProposedRoute]:
    """Return the enabled routes in the order in which they are tried."""
    return sorted((r for r in routes if r.enabled), key=lambda r: (-r.priority, r.id))


def find_duplicate(routes: Iterable[ProposedRoute]) -> str | None:
    """Describe the first repeated id or name as an error message; None if all are distinct."""
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
