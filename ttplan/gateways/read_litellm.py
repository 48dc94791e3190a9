"""Read LiteLLM's router config: the routes that its model groups, tags and fallbacks amount to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttplan.gateways.litellm import ANY, DEFAULT
from ttplan.gateways.plan_file import route_id
from ttplan.gateways.rendered import NOT_IN_PLAN, ParsedRoutes
from ttplan.logs.model_names import known_provider
from ttplan.model.errors import InputError
from ttplan.model.gateway import UnsupportedEffect, UnsupportedField
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

# The more specific route first: (has a model name, has a tag).
_PRIORITIES = {(True, True): 40, (True, False): 30, (False, True): 20, (False, False): 10}
_UNSUPPORTED_SETTINGS = (
    "model_group_alias",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "default_fallbacks",
)


@dataclass
class _Group:
    """The models of a model group, by the tag of the requests that they take (None: any other)."""

    name: str
    models: dict[str | None, list[str]] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the group leaves all requests as they are."""
        return (
            set(self.models) == {None}
            and self.models[None] in ([self.name], [ANY])
            and not self.fallbacks
        )


def from_litellm(content: Any, where: str) -> ParsedRoutes:
    """Read the routes of a config that `where` names, and what of it a plan cannot express.

    Raises InputError.
    """
    if not isinstance(content, dict) or not isinstance(content.get("model_list"), list):
        raise InputError(f"{where}: expected a LiteLLM config with a model_list")
    settings = _mapping(content, "router_settings", where)
    has_tags = bool(settings.get("enable_tag_filtering"))
    groups = _read_groups(content["model_list"], has_tags, where)
    for section in (settings, _mapping(content, "litellm_settings", where)):
        for name, models in _read_fallbacks(section, where):
            if name not in groups:
                raise InputError(f"{where}: fallbacks: there is no model group {name!r:.60}")
            groups[name].fallbacks = tuple(map(str, models))
    parsed = ParsedRoutes()
    for name in _UNSUPPORTED_SETTINGS:
        if settings.get(name):
            parsed.losses.append(_loss("the config", f"router_settings.{name}", "goes without it"))
    catches_all = ANY in groups and not groups[ANY].is_plain
    for group in groups.values():
        if ANY in group.name and group.name != ANY:
            reason = "a route takes models by their names"
            parsed.losses.append(_loss(group.name, "model_name", "is left out", reason))
        elif not group.is_plain or (catches_all and group.name != ANY):
            _add_routes(parsed, group, groups)
    return parsed


def _read_groups(deployments: Sequence[Any], has_tags: bool, where: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for position, deployment in enumerate(deployments, 1):
        fields = deployment if isinstance(deployment, dict) else {}
        params = fields.get("litellm_params")
        params = params if isinstance(params, dict) else {}
        name, model = fields.get("model_name"), params.get("model")
        if not isinstance(name, str) or not isinstance(model, str) or not name or not model:
            raise InputError(
                f"{where}: model_list entry {position}: expected model_name and "
                "litellm_params.model"
            )
        group = groups.setdefault(name, _Group(name))
        for tag in (params.get("tags") if has_tags else None) or [DEFAULT]:
            models = group.models.setdefault(None if tag == DEFAULT else str(tag), [])
            if _without_provider(model) not in models:
                models.append(_without_provider(model))
    return groups


def _without_provider(model: str) -> str:
    prefix, slash, name = model.partition("/")
    return name if slash and name and known_provider(prefix) is not None else model


def _mapping(content: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise InputError(f"{where}: {name}: expected a mapping")
    return section


def _read_fallbacks(settings: Mapping[str, Any], where: str) -> Iterator[tuple[str, list[str]]]:
    for entry in settings.get("fallbacks") or []:
        if not isinstance(entry, dict) or not all(
            isinstance(models, list) for models in entry.values()
        ):
            raise InputError(
                f"{where}: fallbacks: expected a list of mappings, such as - gpt-4o: [gpt-4o-mini]"
            )
        yield from entry.items()


def _add_routes(parsed: ParsedRoutes, group: _Group, groups: Mapping[str, _Group]) -> None:
    """Add the routes of a group, one per tag."""
    is_named = group.name != ANY
    if None not in group.models:
        reason = "nothing says where requests without a tag go"
        parsed.losses.append(_loss(group.name, "litellm_params.tags", "is left out", reason))
    for tag, models in group.models.items():
        name = (group.name if is_named else "any model") + ("" if tag is None else f" tagged {tag}")
        if len(models) > 1:
            reason = f"it spreads requests over {', '.join(models)!s:.80}"
            parsed.losses.append(_loss(name, "litellm_params.model", "is left out", reason))
            continue
        if models == [ANY]:
            continue  # these requests stay as they are
        fallbacks, problem = _resolve_fallbacks(group.fallbacks, groups)
        if problem is not None:
            parsed.losses.append(_loss(name, "fallbacks", "goes without it", problem))
        parsed.routes.append(
            ProposedRoute(
                id=route_id(None, name),
                name=name,
                priority=_PRIORITIES[is_named, tag is not None],
                when=RouteConditions(model_in=(group.name,) if is_named else (), tag_equals=tag),
                then=RouteAction(target_model=models[0], fallbacks=fallbacks),
            )
        )


def _resolve_fallbacks(
    names: Sequence[str], groups: Mapping[str, _Group]
) -> tuple[tuple[str, ...], str | None]:
    """Return the models of fallbacks, or the reason why they are not single models."""
    fallbacks = []
    for name in names:
        models = groups[name].models.get(None, []) if name in groups else [_without_provider(name)]
        if len(models) != 1:
            return (), f"the model group {name!r:.60} is not one model"
        fallbacks.append(models[0])
    return tuple(fallbacks), None


def _loss(
    route: str, name: str, effect: UnsupportedEffect, reason: str = NOT_IN_PLAN
) -> UnsupportedField:
    return UnsupportedField(route=route, field=name, reason=reason, effect=effect)
