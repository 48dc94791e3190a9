"""A store's health, and a backup, told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.model.results.health import Backup, Health

_LEFT = 'style="text-align:left"'
_NOT = '<strong style="color:var(--jp-error-color1)">NOT</strong>'
_INDENT = " " * 16


class ShownHealth:
    """A store's health that shows itself."""

    def __init__(self, found: Health) -> None:
        self.found = found

    @property
    def ok(self) -> bool:
        """Whether every check is good."""
        return self.found.ok

    def __repr__(self) -> str:
        lines = [_verdict(self.found)]
        for check in self.found.checks:
            sign = "ok" if check.ok else "NOT"
            lines += wrap(
                plain(check.said),
                WIDTH,
                initial_indent=f"  {sign:<4}{check.name:<10}",
                subsequent_indent=_INDENT,
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td>{"ok" if check.ok else _NOT}</td><th scope="row" {_LEFT}>{escape(check.name)}</th>'
            f"<td {_LEFT}>{escape(check.said)}</td></tr>"
            for check in self.found.checks
        )
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="health" style="overflow-wrap:anywhere">'
            f"<p style='margin:0'><strong>{_verdict(self.found)}</strong></p>"
            f'<table style="margin:0.5em 0"><tbody>{rows}</tbody></table></div>'
        )


class ShownBackup:
    """A backup that shows itself."""

    def __init__(self, found: Backup) -> None:
        self.found = found

    def __repr__(self) -> str:
        return "\n".join(
            line
            for text in _backup_lines(self.found)
            for line in wrap(text, WIDTH, subsequent_indent="  ")
        )

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in _backup_lines(self.found))
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="backup" style="overflow-wrap:anywhere">'
            f"<p>{lines}</p></div>"
        )


def _verdict(found: Health) -> str:
    bad = sum(not check.ok for check in found.checks)
    return "HEALTHY" if not bad else f"NOT HEALTHY: {bad} of {len(found.checks)} checks"


def _backup_lines(found: Backup) -> list[str]:
    held = ", ".join(
        f"{found.rows[name]:,} {what}" for name, what in _HELD.items() if name in found.rows
    )
    warning = (
        [
            "! Its live routes are not what was signed for, as in the store itself: see `ttplan drift`."
        ]
        if found.drift
        else []
    )
    return [
        f"copied to {found.path}, {found.size_bytes:,} bytes, and read back: {held}",
        f"its chain: {found.chain}"
        + ("" if found.anchor is None else f"; its anchor is {found.anchor}"),
        *(warning if found.drift else []),
        "The signing key is not in it: keep a copy of that, too, and somewhere else.",
    ]


_HELD = {
    "requests": "requests",
    "plan_runs": "plans",
    "routes": "live routes",
    "audit_entries": "entries",
}
