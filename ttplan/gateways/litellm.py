"""LiteLLM's router config: model groups, the tags of their deployments, and fallbacks.

A route there is a deployment of the model group that it takes requests from: one with a tag takes those that bear it, the one
tagged `default` takes the others. A group for `*` takes the models that have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ttplan.gateways.rendered import RenderedRoutes
from ttplan.model.gateway import UnsupportedField
from ttplan.model.route import ProposedRoute, sort_by_precedence

ANY, DEFAULT = "*", "default"
_MARKS = ("!", "&")
"""What LiteLLM reads a tag that begins with it as: to be without, or to be required."""
_UNSAID = {
    "input_tokens_lt": "it does not choose by tokens",
    "input_tokens_gt": "it does not choose by tokens",
    "has_images": "it does not choose by images",
    "has_audio": "it does not choose by audio",
    "prompt_contains_any_of": "it does not choose by words of the prompt",
    "estimated_cost_gt": "it does not choose by cost",
    "estimated_cost_lt": "it does not choose by cost",
}
ProviderOf = Callable[[str], str]
"""A model's name as LiteLLM calls it, with its provider: `openai/gpt-4o`. Raises InputError where that is not known."""


class _Choice(NamedTuple):
    """What a group does with requests of a tag (None: any other): the route that takes them, or none."""

    tag: str | None
    route: ProposedRoute | None

    @property
    def fallbacks(self) -> tuple[str, ...]:
        return () if self.route is None else self.route.then.fallbacks


def to_litellm(routes: Sequence[ProposedRoute], provider_of: ProviderOf) -> RenderedRoutes:
    """The enabled routes in LiteLLM's words. Raises what `provider_of` does."""
    ordered = sort_by_precedence(routes)
    losses = [loss for route in ordered for loss in _unsaid_conditions(route)]
    unsaid = {loss.route for loss in losses}
    written = [route for route in ordered if route.name not in unsaid]
    losses += [loss for route in written for loss in _unsaid_actions(route)]
    names = sorted({model for route in written for model in route.when.model_in})
    catches_all = any(not route.when.model_in for route in written)
    groups = {name: _choices(name, written) for name in names}
    if catches_all:
        groups[ANY] = _choices(None, written)
    filtered = any(choice.tag is not None for choices in groups.values() for choice in choices)
    kept, lost = _fallbacks(groups)
    losses += lost
    apart = {model: _apart(model, groups) for fallbacks in kept.values() for model in fallbacks}
    models = [
        _deployment(name, choice, provider_of, filtered)
        for name, choices in groups.items()
        for choice in _by_name(choices)
    ]
    models += [_plain(apart[model], provider_of(model), filtered) for model in sorted(apart)]
    settings: dict[str, Any] = {"enable_tag_filtering": True} if filtered else {}
    if kept:
        settings["fallbacks"] = [
            {name: [apart[model] for model in fallbacks]} for name, fallbacks in kept.items()
        ]
    content = {"model_list": models} | ({"router_settings": settings} if settings else {})
    return RenderedRoutes(content, losses, _notes(routes, filtered, catches_all))


def _unsaid_conditions(route: ProposedRoute) -> Iterator[UnsupportedField]:
    """The conditions that it cannot look at: without one of them the route would take more requests, so it is left out."""
    asked = route.when.model_dump(exclude_defaults=True)
    found = {name: reason for name, reason in _UNSAID.items() if name in asked}
    tag = route.when.tag_equals
    if tag is not None and (tag in ("", DEFAULT) or tag.startswith(_MARKS)):
        found["tag_equals"] = f"the tag {tag!r:.40} means something else to it"
    if any(ANY in model for model in route.when.model_in):
        found["model_in"] = f"a model with {ANY} in its name is a pattern to it"
    for name, reason in found.items():
        yield UnsupportedField(
            route=route.name, field=f"when.{name}", reason=reason, effect="is left out"
        )


def _unsaid_actions(route: ProposedRoute) -> Iterator[UnsupportedField]:
    if route.then.disable_cache:
        yield _without(route, "disable_cache", "its router does not say it of a deployment")
    if route.then.max_cost_usd is not None:
        yield _without(route, "max_cost_usd", "it has budgets for a time, and none for a request")


def _without(route: ProposedRoute, name: str, reason: str) -> UnsupportedField:
    return UnsupportedField(
        route=route.name, field=f"then.{name}", reason=reason, effect="goes without it"
    )


def _choices(model: str | None, routes: Sequence[ProposedRoute]) -> list[_Choice]:
    """What becomes of requests for a model (None: one that no route names), by their tag, the untagged ones last."""
    taken: dict[str, ProposedRoute] = {}
    for route in routes:
        if route.when.model_in and model not in route.when.model_in:
            continue
        if route.when.tag_equals is None:
            return [*(_Choice(tag, one) for tag, one in taken.items()), _Choice(None, route)]
        taken.setdefault(route.when.tag_equals, route)
    return [*(_Choice(tag, one) for tag, one in taken.items()), _Choice(None, None)]


def _fallbacks(
    groups: dict[str, list[_Choice]],
) -> tuple[dict[str, tuple[str, ...]], list[UnsupportedField]]:
    """The fallbacks of each group, and those that are lost: they hold for a group, whichever deployment of it failed."""
    kept: dict[str, tuple[str, ...]] = {}
    lost: dict[str, UnsupportedField] = {}
    for name, choices in groups.items():
        said = {choice.fallbacks for choice in choices}
        if name != ANY and len(said) == 1:
            if choices[0].fallbacks:
                kept[name] = choices[0].fallbacks
            continue
        # Those of `*` would hold for every group that has none.
        reason = f"in the model group {name!r:.60} they would hold for other requests, too"
        for choice in choices:
            if choice.route is not None and choice.fallbacks:
                lost.setdefault(choice.route.name, _without(choice.route, "fallbacks", reason))
    return kept, list(lost.values())


def _apart(model: str, groups: dict[str, list[_Choice]]) -> str:
    """The group that is a model and nothing else: by its own name, unless requests for that name are routed."""
    return f"{model} (fallback)" if model in groups or ANY in groups else model


def _by_name(choices: Sequence[_Choice]) -> list[_Choice]:
    return sorted(choices, key=lambda choice: (choice.tag is None, choice.tag or ""))


def _deployment(
    group: str, choice: _Choice, provider_of: ProviderOf, filtered: bool
) -> dict[str, Any]:
    if choice.route is None:
        return _plain(group, ANY if group == ANY else provider_of(group), filtered)
    found = _plain(group, provider_of(choice.route.then.target_model), filtered)
    if choice.tag is not None:
        found["litellm_params"]["tags"] = [choice.tag]
    return found | {"model_info": {"id": f"{choice.route.id}/{group}"}}


def _plain(group: str, model: str, filtered: bool) -> dict[str, Any]:
    """A deployment that takes what no tag takes; where tags count at all, it has to say so."""
    return {
        "model_name": group,
        "litellm_params": {"model": model} | ({"tags": [DEFAULT]} if filtered else {}),
    }


def _notes(routes: Sequence[ProposedRoute], filtered: bool, catches_all: bool) -> list[str]:
    notes = [
        "API keys and bases are not in the file: LiteLLM takes them from its environment, or add them."
    ]
    if not catches_all:
        notes.append(
            "Models that no route names are not in the file: keep them in your own config, which may include this one."
        )
    if filtered:
        notes.append(
            "A request's tag is one of its LiteLLM tags (metadata.tags, or the header x-litellm-tags)."
        )
    disabled = sum(not route.enabled for route in routes)
    if disabled:
        notes.append(
            f"{disabled:,} disabled {'route is' if disabled == 1 else 'routes are'} not in the file."
        )
    return notes
