"""Who answers a request, plainly: by our routes, and by a LiteLLM config. `scripts/check_gateways.py` checks that it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions, sort_by_precedence

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-haiku-4-5")
TAGS = ("chat", "code")
ASKED = [(model, tag) for model in (*MODELS, "gemini-2.5-pro") for tag in (None, *TAGS, "other")]


class Decision(NamedTuple):
    """The model that answers, and those that are tried where it fails."""

    model: str
    fallbacks: tuple[str, ...]


def ours(routes: Iterable[ProposedRoute], model: str, tag: str | None) -> Decision:
    """By precedence, on model and tag alone."""
    for route in sort_by_precedence(routes):
        asked = route.when
        if (not asked.model_in or model in asked.model_in) and asked.tag_equals in (None, tag):
            return Decision(route.then.target_model, route.then.fallbacks)
    return Decision(model, ())


def litellms(config: dict[str, Any], model: str, tag: str | None) -> Decision:
    """By model group, and in it by tag, else `default`; with the provider's name taken off."""
    settings = config.get("router_settings", {})
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in config["model_list"]:
        groups.setdefault(one["model_name"], []).append(one["litellm_params"])
    name = model if model in groups else "*"
    if name not in groups:
        return Decision(model, ())
    found = groups[name]
    if settings.get("enable_tag_filtering"):
        tagged = [params for params in found if tag in params["tags"]]
        found = tagged or [params for params in found if "default" in params["tags"]]
    (params,) = found
    fallbacks: list[str] = next(
        (one[name] for one in settings.get("fallbacks", []) if name in one), []
    )
    answers = params["model"].split("/", 1)[-1]
    return Decision(
        model if answers == "*" else answers,
        tuple(litellms(config, one, None).model for one in fallbacks),
    )


@st.composite
def sayable(draw: st.DrawFn) -> list[ProposedRoute]:
    """Routes that choose by model and tag only, with ties of priority."""
    from uuid import UUID

    def route(number: int) -> ProposedRoute:
        models = draw(st.lists(st.sampled_from(MODELS), max_size=2, unique=True))
        return ProposedRoute(
            id=UUID(int=draw(st.integers(0, 9)) * 100 + number),
            name=f"r{number}",
            priority=draw(st.integers(0, 3)),
            enabled=draw(st.sampled_from([True, True, True, False])),
            when=RouteConditions(
                model_in=tuple(models), tag_equals=draw(st.sampled_from([None, *TAGS]))
            ),
            then=RouteAction(
                target_model=draw(st.sampled_from([*MODELS, "gemini-2.5-flash"])),
                fallbacks=tuple(draw(st.lists(st.sampled_from(MODELS), max_size=2, unique=True))),
            ),
        )

    return [route(number) for number in range(draw(st.integers(0, 5)))]


def without_fallbacks(routes: Iterable[ProposedRoute], names: set[str]) -> Iterator[ProposedRoute]:
    """The routes, those of these names without their fallbacks."""
    for route in routes:
        then = (
            route.then.model_copy(update={"fallbacks": ()}) if route.name in names else route.then
        )
        yield route.model_copy(update={"then": then})
