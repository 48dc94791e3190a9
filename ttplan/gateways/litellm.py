"""Write LiteLLM's router config: model groups, the tags of their deployments, and fallbacks.

A route becomes a deployment of the model group whose requests it takes. A deployment with a tag
takes the requests with that tag; the one tagged `default` takes the others. The group `*` takes the
models that have no group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ttplan.gateways.rendered import RenderedRoutes, find_sticky
from ttplan.model.gateway import UnsupportedField
from ttplan.model.route import ProposedRoute, sort_by_precedence

ANY, DEFAULT = "*", "default"
_SPECIAL_PREFIXES = ("!", "&")
"""LiteLLM reads a tag with such a prefix as excluded or required."""
_UNSUPPORTED = {
    "input_tokens_lt": "it does not choose by tokens",
    "input_tokens_gt": "it does not choose by tokens",
    "has_images": "it does not choose by images",
    "has_audio": "it does not choose by audio",
    "prompt_contains_any_of": "it does not choose by words of the prompt",
    "estimated_cost_gt": "it does not choose by cost",
    "estimated_cost_lt": "it does not choose by cost",
}
ProviderOf = Callable[[str], str]
"""Returns a model's name with its provider: `openai/gpt-4o`. Raises InputError if unknown."""


class _Branch(NamedTuple):
    """The route of a group's requests with a tag (None: any other tag), if one takes them."""

    tag: str | None
    route: ProposedRoute | None

    @property
    def fallbacks(self) -> tuple[str, ...]:
        return () if self.route is None else self.route.then.fallbacks


def to_litellm(routes: Sequence[ProposedRoute], provider_of: ProviderOf) -> RenderedRoutes:
    """Render the enabled routes as a config. Raises what `provider_of` does."""
    ordered = sort_by_precedence(routes)
    losses = [loss for route in ordered for loss in _unsupported_conditions(route)]
    left_out = {loss.route for loss in losses}
    written = [route for route in ordered if route.name not in left_out]
    losses += [loss for route in written for loss in _unsupported_actions(route)]
    names = sorted({model for route in written for model in route.when.model_in})
    catches_all = any(not route.when.model_in for route in written)
    groups = {name: _branches(name, written) for name in names}
    if catches_all:
        groups[ANY] = _branches(None, written)
    has_tags = any(branch.tag is not None for branches in groups.values() for branch in branches)
    fallbacks, lost_fallbacks = _group_fallbacks(groups)
    losses += lost_fallbacks
    fallback_groups = {
        model: _fallback_group(model, groups) for models in fallbacks.values() for model in models
    }
    deployments = [
        _deployment(name, branch, provider_of, has_tags)
        for name, branches in groups.items()
        for branch in sorted(branches, key=lambda branch: (branch.tag is None, branch.tag or ""))
    ]
    deployments += [
        _plain_deployment(group, provider_of(model), has_tags)
        for model, group in sorted(fallback_groups.items())
    ]
    settings: dict[str, Any] = {"enable_tag_filtering": True} if has_tags else {}
    if fallbacks:
        settings["fallbacks"] = [
            {name: [fallback_groups[model] for model in models]}
            for name, models in fallbacks.items()
        ]
    content = {"model_list": deployments} | ({"router_settings": settings} if settings else {})
    return RenderedRoutes(content, losses, _notes(routes, has_tags, catches_all))


def _unsupported_conditions(route: ProposedRoute) -> Iterator[UnsupportedField]:
    """Yield conditions that LiteLLM cannot check: without them, the route takes more requests."""
    conditions = route.when.model_dump(exclude_defaults=True)
    reasons = {name: reason for name, reason in _UNSUPPORTED.items() if name in conditions}
    tag = route.when.tag_equals
    if tag is not None and (tag in ("", DEFAULT) or tag.startswith(_SPECIAL_PREFIXES)):
        reasons["tag_equals"] = f"the tag {tag!r:.40} means something else to it"
    if any(ANY in model for model in route.when.model_in):
        reasons["model_in"] = f"a model with {ANY} in its name is a pattern to it"
    for name, reason in reasons.items():
        yield UnsupportedField(
            route=route.name, field=f"when.{name}", reason=reason, effect="is left out"
        )
    yield from find_sticky(
        [route],
        "its session affinity holds within a model group and a tag, not for a whole session",
    )


def _unsupported_actions(route: ProposedRoute) -> Iterator[UnsupportedField]:
    if route.then.disable_cache:
        yield _lost_action(route, "disable_cache", "its router does not say it of a deployment")
    if route.then.max_cost_usd is not None:
        yield _lost_action(
            route, "max_cost_usd", "it has budgets for a time, and none for a request"
        )


def _lost_action(route: ProposedRoute, name: str, reason: str) -> UnsupportedField:
    return UnsupportedField(
        route=route.name, field=f"then.{name}", reason=reason, effect="goes without it"
    )


def _branches(model: str | None, routes: Sequence[ProposedRoute]) -> list[_Branch]:
    """Return what takes requests for a model (None: a model of no route), by tag, untagged last."""
    by_tag: dict[str, ProposedRoute] = {}
    untagged = None
    for route in routes:
        if route.when.model_in and model not in route.when.model_in:
            continue
        if route.when.tag_equals is None:
            untagged = route
            break
        by_tag.setdefault(route.when.tag_equals, route)
    return [*(_Branch(tag, route) for tag, route in by_tag.items()), _Branch(None, untagged)]


def _group_fallbacks(
    groups: dict[str, list[_Branch]],
) -> tuple[dict[str, tuple[str, ...]], list[UnsupportedField]]:
    """Return the fallbacks of each group, and the lost ones.

    LiteLLM applies fallbacks to a whole group, whichever of its deployments failed.
    """
    kept: dict[str, tuple[str, ...]] = {}
    lost: dict[str, UnsupportedField] = {}
    for name, branches in groups.items():
        # Fallbacks of the group * would apply to every group that has none.
        if name != ANY and len({branch.fallbacks for branch in branches}) == 1:
            if branches[0].fallbacks:
                kept[name] = branches[0].fallbacks
            continue
        reason = f"in the model group {name!r:.60} they would hold for other requests, too"
        for branch in branches:
            if branch.route is not None and branch.fallbacks:
                loss = _lost_action(branch.route, "fallbacks", reason)
                lost.setdefault(branch.route.name, loss)
    return kept, list(lost.values())


def _fallback_group(model: str, groups: dict[str, list[_Branch]]) -> str:
    """Return the name of the group that serves only a model: its own name unless that is routed."""
    return f"{model} (fallback)" if model in groups or ANY in groups else model


def _deployment(
    group: str, branch: _Branch, provider_of: ProviderOf, has_tags: bool
) -> dict[str, Any]:
    if branch.route is None:
        return _plain_deployment(group, ANY if group == ANY else provider_of(group), has_tags)
    deployment = _plain_deployment(group, provider_of(branch.route.then.target_model), has_tags)
    if branch.tag is not None:
        deployment["litellm_params"]["tags"] = [branch.tag]
    return deployment | {"model_info": {"id": f"{branch.route.id}/{group}"}}


def _plain_deployment(group: str, model: str, has_tags: bool) -> dict[str, Any]:
    """Return a deployment for untagged requests, with the default tag if tags are in use."""
    return {
        "model_name": group,
        "litellm_params": {"model": model} | ({"tags": [DEFAULT]} if has_tags else {}),
    }


def _notes(routes: Sequence[ProposedRoute], has_tags: bool, catches_all: bool) -> list[str]:
    notes = [
        "API keys and bases are not in the file: LiteLLM takes them from its environment, "
        "or add them."
    ]
    if not catches_all:
        notes.append(
            "Models that no route names are not in the file: keep them in your own config, "
            "which may include this one."
        )
    if has_tags:
        notes.append(
            "A request's tag is one of its LiteLLM tags (metadata.tags, or the header "
            "x-litellm-tags)."
        )
    disabled = sum(not route.enabled for route in routes)
    if disabled:
        verb = "route is" if disabled == 1 else "routes are"
        notes.append(f"{disabled:,} disabled {verb} not in the file.")
    return notes
