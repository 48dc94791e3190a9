"""Drift told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from typing import Any

from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.model.plan_run import LiveRoute
from ttplan.model.results.drift import Drift, RouteDrift

_LEFT = 'style="text-align:left"'
_MEANING = {
    "edited": "is not as it was put there",
    "missing": "was signed for, and is not live",
    "foreign": "is live, and no plan put it there",
}


class ShownDrift:
    """A check for drift that shows itself."""

    def __init__(self, found: Drift) -> None:
        self.found = found

    @property
    def ok(self) -> bool:
        """Whether everything is as it was signed for."""
        return self.found.ok

    def __repr__(self) -> str:
        return drift_text(self.found)

    def _repr_html_(self) -> str:
        return drift_html(self.found)


def drift_text(found: Drift) -> str:
    """What was found, as text."""
    lines = wrap(_title(found), WIDTH)
    for one in found.routes:
        lines += wrap(
            f"{one.kind}: {plain(one.name)} {_MEANING[one.kind]}",
            WIDTH - 2,
            initial_indent="  ",
            subsequent_indent="    ",
        )
        for detail in details(one):
            lines += wrap(detail, WIDTH, initial_indent="      ", subsequent_indent="        ")
    for problem in found.problems:
        lines += wrap(
            plain(problem.message), WIDTH - 2, initial_indent="  ! ", subsequent_indent="    "
        )
    return "\n".join([*lines, *wrap(_footer(found), WIDTH)])


def drift_html(found: Drift) -> str:
    """What was found, as HTML in the notebook's own colours."""
    rows = "".join(
        f'<tr><td>{one.kind}</td><th scope="row" {_LEFT}>{escape(one.name)}</th><td {_LEFT}>{_MEANING[one.kind]}</td>'
        f"<td {_LEFT}>{'<br>'.join(escape(detail) for detail in details(one))}</td></tr>"
        for one in found.routes
    )
    table = f'<table style="margin:0.5em 0"><tbody>{rows}</tbody></table>' if rows else ""
    problems = "".join(f"<li>{escape(problem.message)}</li>" for problem in found.problems)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="drift" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(_title(found))}</strong></p>{table}{f'<ul>{problems}</ul>' if problems else ''}"
        f"<p style='margin:0'>{escape(_footer(found))}</p></div>"
    )


def details(one: RouteDrift) -> list[str]:
    """What exactly is different about a route."""
    if one.unreadable is not None:
        return [f"the row is no route any more: {plain(one.unreadable)}"]
    if one.expected is None or one.found is None:
        return []
    then, now = _shown(one.expected), _shown(one.found)
    return [
        f"{name}: signed for {_value(then, name)}, found {_value(now, name)}" for name in one.fields
    ]


def _shown(live: LiveRoute) -> dict[str, Any]:
    return live.route.model_dump(mode="json") | {
        "plan_id": str(live.plan_id),
        "applied_at": live.applied_at.isoformat(),
    }


def _value(fields: dict[str, Any], name: str) -> str:
    value: Any = fields
    for part in name.split("."):
        value = value[part]
    if value is None or value == []:
        return "nothing"
    return plain(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _title(found: Drift) -> str:
    if found.ok:
        return f"NO DRIFT: {found.live:,} live {'route is' if found.live == 1 else 'routes are'} what was signed for"
    if found.routes:
        counted = f"{len(found.routes):,} {'route is' if len(found.routes) == 1 else 'routes are'}"
        return f"DRIFT: {counted} not live as was signed for"
    return "DRIFT: plans and chain do not agree"


def _footer(found: Drift) -> str:
    return f"{found.entries:,} {'entry' if found.entries == 1 else 'entries'} followed; the chain: {found.chain}"
