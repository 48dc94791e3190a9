"""Which live routes a plan's routes take the place of: a name has one route, and a route one name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from ttplan.model.plan_run import LiveRoute
from ttplan.model.route import ProposedRoute


def renames(live: Iterable[LiveRoute], routes: Iterable[ProposedRoute]) -> dict[str, str]:
    """The names that routes had until now, by those that they get: the route of an id is the same one under any name.

    An id that is live under several names tells none of them: earlier versions knew routes by their names alone.
    """
    names: dict[UUID, list[str]] = defaultdict(list)
    for one in live:
        names[one.route.id].append(one.route.name)
    until_now = {route.name: names[route.id][0] for route in routes if len(names[route.id]) == 1}
    return {new: old for new, old in until_now.items() if new != old}


def replaced_by(live: Iterable[LiveRoute], routes: Iterable[ProposedRoute]) -> list[LiveRoute]:
    """The live routes that `routes` take the place of: those of their names, and those that they were under another name.

    In the order of `routes`; what one was until now comes last, unless another of `routes` takes its name.
    """
    by_name, landing = {one.route.name: one for one in live}, list(routes)
    names = dict.fromkeys([*(route.name for route in landing), *renames(by_name.values(), landing).values()])
    return [by_name[name] for name in names if name in by_name]
