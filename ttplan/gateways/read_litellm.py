"""Routes that are live at a LiteLLM gateway: what its config's model groups, tags and fallbacks come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttplan.gateways.litellm import ANY, DEFAULT
from ttplan.gateways.plan_file import route_id
from ttplan.gateways.rendered import ParsedRoutes
from ttplan.logs.model_names import known_provider
from ttplan.model.errors import InputError
from ttplan.model.gateway import UnsupportedEffect, UnsupportedField
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

# More exact routes first: a tag before none, a model that is named before any.
_PRIORITIES = {(True, True): 40, (True, False): 30, (False, True): 20, (False, False): 10}
_NO_WORDS = (
    "model_group_alias",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "default_fallbacks",
)


@dataclass
class _Group:
    """The models behind one name, by the tag of the requests that they take (None: any other)."""

    name: str
    models: dict[str | None, list[str]] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether requests stay as they are, whatever they bear."""
        return (
            set(self.models) == {None}
            and self.models[None] in ([self.name], [ANY])
            and not self.fallbacks
        )


def from_litellm(content: Any, where: str) -> ParsedRoutes:
    """The routes of a config, and what of it we have no words for. `where` names the file. Raises InputError."""
    if not isinstance(content, dict) or not isinstance(content.get("model_list"), list):
        raise InputError(f"{where}: expected a LiteLLM config with a model_list")
    settings = _mapping(content, "router_settings", where)
    groups = _groups(content["model_list"], bool(settings.get("enable_tag_filtering")), where)
    _add_fallbacks(
        groups,
        [*_listed(settings, where), *_listed(_mapping(content, "litellm_settings", where), where)],
        where,
    )
    found = ParsedRoutes()
    for name in _NO_WORDS:
        if settings.get(name):
            found.losses.append(_loss("the config", f"router_settings.{name}", "goes without it"))
    catches_all = ANY in groups and not groups[ANY].is_plain
    for group in groups.values():
        if ANY in group.name and group.name != ANY:
            found.losses.append(
                _loss(
                    group.name, "model_name", "is left out", "a route takes models by their names"
                )
            )
        elif not group.is_plain or (catches_all and group.name != ANY):
            _take(found, group, groups)
    return found


def _groups(listed: Sequence[Any], filtered: bool, where: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for position, one in enumerate(listed, 1):
        name = one.get("model_name") if isinstance(one, dict) else None
        params = one.get("litellm_params") if isinstance(one, dict) else None
        model = params.get("model") if isinstance(params, dict) else None
        if not isinstance(name, str) or not isinstance(model, str) or not name or not model:
            raise InputError(
                f"{where}: model_list entry {position}: expected model_name and litellm_params.model"
            )
        tags = params.get("tags") if filtered and isinstance(params, dict) else None
        group = groups.setdefault(name, _Group(name))
        for tag in [None if tag == DEFAULT else str(tag) for tag in tags or [DEFAULT]]:
            models = group.models.setdefault(tag, [])
            if _bare(model) not in models:
                models.append(_bare(model))
    return groups


def _bare(model: str) -> str:
    """A model's name without the provider that LiteLLM puts in front of it."""
    prefix, slash, rest = model.partition("/")
    return rest if slash and rest and known_provider(prefix) is not None else model


def _mapping(content: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    found = content.get(name) or {}
    if not isinstance(found, dict):
        raise InputError(f"{where}: {name}: expected a mapping")
    return found


def _listed(settings: Mapping[str, Any], where: str) -> Iterator[tuple[str, list[str]]]:
    for one in settings.get("fallbacks") or []:
        if not isinstance(one, dict) or not all(
            isinstance(models, list) for models in one.values()
        ):
            raise InputError(
                f"{where}: fallbacks: expected a list of mappings, such as - gpt-4o: [gpt-4o-mini]"
            )
        yield from one.items()


def _add_fallbacks(
    groups: dict[str, _Group], listed: Sequence[tuple[str, list[str]]], where: str
) -> None:
    for name, models in listed:
        if name not in groups:
            raise InputError(f"{where}: fallbacks: there is no model group {name!r:.60}")
        groups[name].fallbacks = tuple(map(str, models))


def _take(found: ParsedRoutes, group: _Group, groups: Mapping[str, _Group]) -> None:
    """The routes of one group: a request's tag chooses, and what no tag takes stays with the others."""
    named = group.name != ANY
    if None not in group.models:
        found.losses.append(
            _loss(
                group.name,
                "litellm_params.tags",
                "is left out",
                "nothing says where requests without a tag go",
            )
        )
    for tag, models in group.models.items():
        name = (group.name if named else "any model") + (
            f" tagged {tag}" if tag is not None else ""
        )
        if len(models) > 1:
            reason = f"it spreads requests over {', '.join(models)!s:.80}"
            found.losses.append(_loss(name, "litellm_params.model", "is left out", reason))
            continue
        if models == [ANY]:
            continue  # requests that stay as they are
        fallbacks, unnamed = _models(group.fallbacks, groups)
        if unnamed is not None:
            found.losses.append(_loss(name, "fallbacks", "goes without it", unnamed))
        found.routes.append(
            ProposedRoute(
                id=route_id(None, name),
                name=name,
                priority=_PRIORITIES[named, tag is not None],
                when=RouteConditions(model_in=(group.name,) if named else (), tag_equals=tag),
                then=RouteAction(target_model=models[0], fallbacks=fallbacks),
            )
        )


def _models(
    names: Sequence[str], groups: Mapping[str, _Group]
) -> tuple[tuple[str, ...], str | None]:
    """The models that fallbacks come to, or why they cannot be named."""
    found = []
    for name in names:
        models = groups[name].models.get(None, []) if name in groups else [_bare(name)]
        if len(models) != 1:
            return (), f"the model group {name!r:.60} is not one model"
        found.append(models[0])
    return tuple(found), None


def _loss(
    route: str, name: str, effect: UnsupportedEffect, reason: str = "a plan has no words for it"
) -> UnsupportedField:
    return UnsupportedField(route=route, field=name, reason=reason, effect=effect)
