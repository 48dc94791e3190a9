"""An export to a gateway told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.model.gateway import GATEWAYS, RouteExport


class ShownExport:
    """An export that shows itself."""

    def __init__(self, found: RouteExport) -> None:
        self.found = found

    def __repr__(self) -> str:
        return export_text(self.found)

    def _repr_html_(self) -> str:
        return export_html(self.found)


def export_text(found: RouteExport) -> str:
    """What was written, as text."""
    lines = wrap(_title(found), WIDTH)
    for loss in found.losses:
        lines += wrap(plain(str(loss)), WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
    for note in found.notes:
        lines += wrap(note, WIDTH - 2, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def export_html(found: RouteExport) -> str:
    """What was written, as HTML in the notebook's own colours."""
    losses = "".join(f"<li>{escape(str(loss))}</li>" for loss in found.losses)
    notes = "".join(f"<p style='margin:0'>{escape(note)}</p>" for note in found.notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="export" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(_title(found))}</strong></p>{f'<ul>{losses}</ul>' if losses else ''}{notes}</div>"
    )


def _title(found: RouteExport) -> str:
    routes = f"{found.routes:,} live {'route' if found.routes == 1 else 'routes'}"
    if not found.changed:
        return f"{found.path} has the {routes} for {GATEWAYS[found.gateway]} already"
    return f"{routes} written to {found.path} for {GATEWAYS[found.gateway]}"
