"""Plan files: routes and assumptions, read from YAML and written to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ConfigDict, ValidationError

from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig
from ttplan.model.projection.assumption import Assumption, AssumptionKey
from ttplan.model.route import ProposedRoute, find_duplicate
from ttplan.util.files import atomic_write
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import describe_validation_error, format_yaml, read_yaml

NAMESPACE = uuid5(NAMESPACE_URL, "ttplan:routes")
"""Namespace of route ids that are not UUIDs: made of the id as written, or of the name."""
_KEYS = ("routes", "config", "assumptions")


class PlanFile(NamedTuple):
    """The content of a plan file."""

    routes: tuple[ProposedRoute, ...]
    config: PlanConfig | None
    assumptions: tuple[Assumption, ...] = ()


class _WrittenConfig(PlanConfig):
    """A config in a file: an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_plan_file(path: PathLike) -> PlanFile:
    """Read `routes: [...]` and an optional `config: {...}` and `assumptions: [...]`.

    Raises InputError that names file, route or assumption, and field.
    """
    content = read_yaml(path, "routes")
    if not isinstance(content, dict) or not isinstance(content.get("routes"), list):
        raise InputError(f"{path}: expected a list of routes under the key routes")
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise InputError(
            f"{path}: the key {unknown[0]!r} is not known; expected routes, config and assumptions"
        )
    routes = tuple(
        _route(path, position, fields) for position, fields in enumerate(content["routes"], 1)
    )
    repeat = find_duplicate(routes)
    if repeat is not None:
        raise InputError(f"{path}: {repeat}")
    config = _config(path, content["config"]) if "config" in content else None
    return PlanFile(routes, config, _assumptions(path, content.get("assumptions", []), routes))


def _config(path: PathLike, content: Any) -> PlanConfig:
    try:
        written = _WrittenConfig.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: config: {describe_validation_error(error)}") from None
    # What the file names stays set, even to a default: `Workspace.plan` has other defaults.
    return PlanConfig.model_validate(
        {name: getattr(written, name) for name in written.model_fields_set}
    )


def _assumptions(
    path: PathLike, content: Any, routes: Sequence[ProposedRoute]
) -> tuple[Assumption, ...]:
    """The assumptions of a plan file. Their source is the user, whatever their notes say."""
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list under the key assumptions")
    names = {route.name for route in routes}
    positions: dict[AssumptionKey, int] = {}
    assumptions = []
    for position, fields in enumerate(content, 1):
        name = fields.get("name") if isinstance(fields, dict) else None
        where = f"{path}: assumption {position}" + (f" ({name!r:.60})" if name else "")
        if not isinstance(fields, dict):
            raise InputError(f"{where}: expected name and value")
        if "source" in fields:
            raise InputError(f"{where}: source: this key is not known")
        try:
            assumption = Assumption.model_validate(fields)
        except ValidationError as error:
            raise InputError(f"{where}: {describe_validation_error(error)}") from None
        if assumption.route is not None and assumption.route not in names:
            raise InputError(f"{where}: route: no route is called {assumption.route!r:.60}")
        earlier = positions.setdefault(assumption.key, position)
        if earlier != position:
            raise InputError(f"{where}: assumption {earlier} is about the same; expected one")
        assumptions.append(assumption)
    return tuple(assumptions)


def plan_yaml(
    routes: Sequence[ProposedRoute],
    config: PlanConfig | None = None,
    assumptions: Sequence[Assumption] = (),
    *,
    heading: str = "",
) -> str:
    """Return the text of a plan file that `read_plan_file` reads back equal, below a comment.

    Sources of assumptions are not written: what is in a plan file is the user's.
    Raises InputError if a number has more digits than one in YAML keeps.
    """
    content: dict[str, Any] = {
        "routes": [
            _written(route.name, route.model_dump(exclude_defaults=True)) for route in routes
        ]
    }
    if config is not None:
        fields = config.model_dump(exclude_defaults=True)
        if "projection" in config.model_fields_set:
            fields["projection"] = config.projection
        content["config"] = _written("config", fields)
    if assumptions:
        content["assumptions"] = [
            _written(given.name, given.model_dump(exclude_defaults=True, exclude={"source"}))
            for given in assumptions
        ]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in map(_printable, heading.splitlines()))
    return comment + format_yaml(content)


def write_plan_file(
    path: PathLike,
    routes: Sequence[ProposedRoute],
    config: PlanConfig | None = None,
    assumptions: Sequence[Assumption] = (),
    *,
    heading: str = "",
    overwrite: bool = False,
) -> None:
    """Write a plan file, whole or not at all.

    Raises InputError if it exists already, unless `overwrite`.
    """
    text = plan_yaml(routes, config, assumptions, heading=heading)
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(text.encode())


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)


def _written(where: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _written(where, part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_written(where, part) for part in value]
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, Decimal):
        return value
    if Decimal(repr(float(value))) != value:
        raise InputError(
            f"{where!r:.60}: the bound {value} has more digits than a number in a YAML file keeps; "
            "round it"
        )
    return float(value)


def _route(path: PathLike, position: int, fields: Any) -> ProposedRoute:
    name = fields.get("name") if isinstance(fields, dict) else None
    where = f"{path}: route {position}" + (f" ({name!r:.60})" if name else "")
    if not isinstance(fields, dict):
        raise InputError(f"{where}: expected id, name, priority, when and then")
    try:
        return ProposedRoute.model_validate(fields | {"id": route_id(fields.get("id"), name)})
    except ValidationError as error:
        raise InputError(f"{where}: {describe_validation_error(error)}") from None


def route_id(written: Any, name: Any) -> UUID:
    """Return a route's id as written, or one made of that, or of its name if it has none."""
    text = str(name if written is None else written)
    try:
        return UUID(text) if len(text) == 36 else uuid5(NAMESPACE, text)
    except ValueError:
        return uuid5(NAMESPACE, text)
