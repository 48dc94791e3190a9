"""Which model answers a request, by routes and by a LiteLLM config, in simple code.

`scripts/check_gateways.py` compares this with the gateway itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions, sort_by_precedence

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-haiku-4-5")
TAGS = ("chat", "code")
REQUESTS = [(model, tag) for model in (*MODELS, "gemini-2.5-pro") for tag in (None, *TAGS, "other")]


class Decision(NamedTuple):
    """The model that answers, and those that are tried where it fails."""

    model: str
    fallbacks: tuple[str, ...]


def decide_by_routes(routes: Iterable[ProposedRoute], model: str, tag: str | None) -> Decision:
    """By precedence, on model and tag alone."""
    for route in sort_by_precedence(routes):
        conditions = route.when
        if (not conditions.model_in or model in conditions.model_in) and conditions.tag_equals in (
            None,
            tag,
        ):
            return Decision(route.then.target_model, route.then.fallbacks)
    return Decision(model, ())


def decide_by_config(config: dict[str, Any], model: str, tag: str | None) -> Decision:
    """By model group, and in it by tag, else `default`; with the provider's name taken off."""
    settings = config.get("router_settings", {})
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in config["model_list"]:
        groups.setdefault(entry["model_name"], []).append(entry["litellm_params"])
    name = model if model in groups else "*"
    if name not in groups:
        return Decision(model, ())
    deployments = groups[name]
    if settings.get("enable_tag_filtering"):
        tagged = [params for params in deployments if tag in params["tags"]]
        deployments = tagged or [params for params in deployments if "default" in params["tags"]]
    (params,) = deployments
    fallbacks: list[str] = next(
        (entry[name] for entry in settings.get("fallbacks", []) if name in entry), []
    )
    answers = params["model"].split("/", 1)[-1]
    return Decision(
        model if answers == "*" else answers,
        tuple(decide_by_config(config, entry, None).model for entry in fallbacks),
    )


@st.composite
def supported_routes(draw: st.DrawFn) -> list[ProposedRoute]:
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
