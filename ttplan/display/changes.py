"""What applying or reverting a plan would change, told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from typing import Any

from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.model.results.changes import FieldChange, Preview, RouteChange

SIGNS = {"new": "+", "replaced": "~", "renamed": ">", "same": "=", "removed": "-"}
_LEFT = 'style="text-align:left"'
_COLOURS = {
    "new": "var(--jp-success-color1)",
    "replaced": "var(--jp-warn-color1)",
    "renamed": "var(--jp-warn-color1)",
    "same": "inherit",
    "removed": "var(--jp-error-color1)",
}
_WORDS = {
    "apply": {
        "new": "new",
        "replaced": "replaced",
        "renamed": "renamed",
        "removed": "removed",
        "same": "the same",
    },
    "revert": {
        "removed": "removed",
        "replaced": "put back",
        "renamed": "renamed back",
        "new": "back",
        "same": "the same",
    },
}


class ShownPreview:
    """A preview that shows itself."""

    def __init__(self, found: Preview) -> None:
        self.found = found

    def __repr__(self) -> str:
        return preview_text(self.found)

    def _repr_html_(self) -> str:
        return preview_html(self.found)


def preview_text(found: Preview) -> str:
    """The preview as text."""
    lines = [*wrap(_title(found), WIDTH), f"plan {found.plan_id}", ""]
    for change in found.changes:
        lines += wrap(
            f"{SIGNS[change.kind]} {plain(change.name)}",
            WIDTH - 2,
            initial_indent="  ",
            subsequent_indent="    ",
        )
        lines += wrap(
            _said(change, found.action), WIDTH, initial_indent="      ", subsequent_indent="      "
        )
        for part in change.fields:
            lines += wrap(
                _field(part), WIDTH, initial_indent="      ", subsequent_indent="        "
            )
    if found.changes:
        lines.append("")
    lines += wrap(_count(found), WIDTH)
    for note in notes(found):
        lines += wrap(note, WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join(lines)


def preview_html(found: Preview) -> str:
    """The preview as HTML, in the notebook's own colours."""
    words = _WORDS[found.action]
    rows = "".join(
        f'<tr><td style="color:{_COLOURS[change.kind]}"><strong>{SIGNS[change.kind]}</strong></td>'
        f"<td {_LEFT}>{words[change.kind]}</td>"
        f'<th scope="row" {_LEFT}>{escape(change.name)}</th><td {_LEFT}>{escape(_said(change, found.action))}</td>'
        f"<td {_LEFT}>{'<br>'.join(escape(_field(part)) for part in change.fields)}</td></tr>"
        for change in found.changes
    )
    table = f'<table style="margin:0.5em 0"><tbody>{rows}</tbody></table>' if rows else ""
    warnings = "".join(f"<li>{escape(note)}</li>" for note in notes(found))
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="preview" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(_title(found))}</strong><br><code>{found.plan_id}</code></p>{table}"
        f"<p style='margin:0'>{escape(_count(found))}</p>{f'<ul>{warnings}</ul>' if warnings else ''}</div>"
    )


def notes(found: Preview) -> list[str]:
    """What to beware of: that the plan cannot be applied, or was computed against other routes."""
    if found.action == "revert":
        return []
    if found.status != "projected":
        return [f"The plan is {found.status}; only a projected plan can be applied."]
    if not found.stale:
        return []
    return ["The plan was computed against other live routes:", *map(str, found.stale)]


def _title(found: Preview) -> str:
    return f"{found.action} {plain(found.plan_name)}  [{found.status}]"


def _said(change: RouteChange, action: str) -> str:
    """One line on a route: what it is about, and whose it was."""
    shown = change.after or change.before
    target = (
        ""
        if shown is None
        else f"to {plain(shown.route.then.target_model)}, priority {shown.route.priority}"
    )
    if change.before is None or change.kind == "removed":
        return target
    if action == "revert" and change.after is not None:
        return f"{target}; of plan {change.after.plan_id}"
    return f"{target}; live by plan {change.before.plan_id}"


def _field(part: FieldChange) -> str:
    return f"{part.field}: {_value(part.before)} → {_value(part.after)}"


def _value(value: Any) -> str:
    if value is None or value == []:
        return "any"
    return plain(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _count(found: Preview) -> str:
    words = _WORDS[found.action]
    counts = {kind: sum(change.kind == kind for change in found.changes) for kind in words}
    parts = [f"{count:,} {words[kind]}" for kind, count in counts.items() if count] or ["no routes"]
    others = f"{found.untouched:,} other live {'route stays as it is' if found.untouched == 1 else 'routes stay as they are'}"
    return f"{', '.join(parts)}; {others}"
