"""Suggested routes told to a person: as text that fits 80 columns, as escaped HTML, and as a plan file to edit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

from ttplan.display.amounts import negated, usd, usd_interval
from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.gateways.plan_file import plan_yaml, write_plan_file
from ttplan.model.results.suggestion import Suggestion, Suggestions
from ttplan.model.route import ProposedRoute

_LEFT = 'style="text-align:left"'
_QUALITY = "Prices speak here, not quality: whether a target answers as well, its own answers have to show."


class SuggestedRoutes:
    """Suggestions that show themselves. `routes` are the confirmed ones, to plan with; iterating gives every suggestion."""

    def __init__(self, found: Suggestions) -> None:
        self.found = found

    @property
    def routes(self) -> tuple[ProposedRoute, ...]:
        """The confirmed routes, as any plan takes them."""
        return self.found.routes

    def to_yaml(
        self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False
    ) -> str:
        """The confirmed routes as a plan file, also written to `path` where there is one.

        Raises InputError where there is such a file already, unless `overwrite`, or where it cannot be written.
        """
        heading = f"Routes suggested by {_halves(self.found)}"
        if path is not None:
            write_plan_file(path, self.routes, heading=heading, overwrite=overwrite)
        return plan_yaml(self.routes, heading=heading)

    def __iter__(self) -> Iterator[Suggestion]:
        return iter(self.found.items)

    def __len__(self) -> int:
        return len(self.found.items)

    def __getitem__(self, rank: int) -> Suggestion:
        return self.found.items[rank]

    def __repr__(self) -> str:
        return suggestions_text(self.found)

    def _repr_html_(self) -> str:
        return suggestions_html(self.found)


def suggestions_text(found: Suggestions) -> str:
    """The suggestions as text."""
    lines = [_title(found), *wrap(_explanation(found), WIDTH)]
    for rank, item in enumerate(found.items, 1):
        label = f"{rank:>3}. {'' if item.confirmed else '(not confirmed) '}{plain(item.route.name)}"
        lines += ["", *wrap(label, WIDTH, subsequent_indent="     ")]
        lines += [f"     {_change(item):<39}{_ends(item)}"]
        lines += wrap(_basis(item), WIDTH, initial_indent="     ", subsequent_indent="     ")
        if item.note:
            lines += wrap(item.note, WIDTH, initial_indent="     ! ", subsequent_indent="       ")
    if found.notes:
        lines.append("")
    for note in found.notes:
        lines += wrap(note, WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join([*lines, "", *wrap(_footer(found), WIDTH)])


def suggestions_html(found: Suggestions) -> str:
    """The suggestions as HTML, in the notebook's own colours."""
    rows = "".join(_html_row(rank, item) for rank, item in enumerate(found.items, 1))
    table = (
        f'<table style="margin:0.5em 0"><thead><tr><th></th><th {_LEFT}>route</th><th>in the held-out half</th>'
        f"<th {_LEFT}>95 % interval</th><th>requests</th><th>paid</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="suggestions" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(_title(found))}</strong><br>{escape(_explanation(found))}</p>"
        f"{table}{f'<ul>{notes}</ul>' if notes else ''}<p style='margin:0'>{escape(_footer(found))}</p></div>"
    )


def _html_row(rank: int, item: Suggestion) -> str:
    verdict = "confirmed" if item.confirmed else f"not confirmed: {item.note}"
    return (
        f'<tr><td>{rank}</td><th scope="row" {_LEFT}>{escape(item.route.name)}</th><td>{escape(_change(item))}</td>'
        f"<td {_LEFT}>{escape(_ends(item))}</td><td>{item.heldout_requests:,}</td>"
        f"<td>{escape(usd(float(item.heldout_cost_usd)))}</td><td {_LEFT}>{escape(verdict)}</td></tr>"
    )


def _title(found: Suggestions) -> str:
    count, confirmed = len(found.items), len(found.routes)
    if not count:
        return "no route is suggested"
    return f"{count} {'route' if count == 1 else 'routes'} suggested, {confirmed} confirmed"


def _explanation(found: Suggestions) -> str:
    if found.split_at is None:
        return f"No requests from {_moment(found.window_start)} to {_moment(found.window_end)} UTC."
    return (
        f"Chosen by {_halves(found)} Savings are USD in that held-out half, against what was paid, on "
        f"{found.heldout_requests:,} of {found.requests:,} requests."
    )


def _halves(found: Suggestions) -> str:
    if found.split_at is None:
        return "a window without requests."
    first, split, last = (
        _moment(at) for at in (found.window_start, found.split_at, found.window_end)
    )
    return (
        f"the requests from {first} to {split} UTC, and checked on those from there to {last} UTC."
    )


def _footer(found: Suggestions) -> str:
    return (
        f"{found.candidates:,} routes compared. 95 % intervals by method limit, resampling by request; of routes that save "
        f"nothing, about one in 40 is confirmed by chance. {_QUALITY}"
    )


def _basis(item: Suggestion) -> str:
    share = (
        100 * abs(item.heldout_savings_usd) / item.heldout_cost_usd if item.heldout_cost_usd else 0
    )
    noun = "request" if item.heldout_requests == 1 else "requests"
    return f"{share:.0f} % of the {usd(float(item.heldout_cost_usd))} paid for {item.heldout_requests:,} {noun}"


def _change(item: Suggestion) -> str:
    return (
        f"costs more: {_amount(item)}" if item.heldout_savings_usd < 0 else f"saves {_amount(item)}"
    )


def _amount(item: Suggestion) -> str:
    return usd(abs(float(item.heldout_savings_usd)))


def _ends(item: Suggestion) -> str:
    """The interval, of what the route costs more where it does."""
    ends = item.heldout_savings_usd_95
    return usd_interval(negated(ends) if item.heldout_savings_usd < 0 else ends)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
