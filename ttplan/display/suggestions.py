"""The card of suggested routes, which can be planned with or written as a plan file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ttplan.display.amounts import negated, plural, usd, usd_interval
from ttplan.display.card import Card, ResultCard, Row, Table
from ttplan.gateways.plan_file import plan_yaml, write_plan_file
from ttplan.model.results.suggestion import Suggestion, Suggestions
from ttplan.model.route import ProposedRoute
from ttplan.util.paths import PathLike

_QUALITY = (
    "This compares prices, not quality: check the target's own answers before you trust them."
)

_TOO_FEW = "too few to confirm: "
"""How the note of a route with too few requests begins."""


class SuggestionsCard(ResultCard[Suggestions]):
    """Suggested routes. `routes` are the confirmed ones, to plan with; iterating gives every
    suggestion."""

    @property
    def routes(self) -> tuple[ProposedRoute, ...]:
        """The confirmed routes, as `Workspace.plan` takes them."""
        return self.result.routes

    def to_yaml(self, path: PathLike | None = None, *, overwrite: bool = False) -> str:
        """The confirmed routes as the text of a plan file, also written to `path` if it is given.

        Raises InputError if the file exists, unless `overwrite`, or if it cannot be written.
        """
        heading = f"Routes suggested by {_halves(self.result)}"
        if path is not None:
            write_plan_file(path, self.routes, heading=heading, overwrite=overwrite)
        return plan_yaml(self.routes, heading=heading)

    def __iter__(self) -> Iterator[Suggestion]:
        return iter(self.result.items)

    def __len__(self) -> int:
        return len(self.result.items)

    def __getitem__(self, rank: int) -> Suggestion:
        return self.result.items[rank]

    def card(self) -> Card:
        return suggestions_card(self.result)


def suggestions_card(suggestions: Suggestions) -> Card:
    """The card of suggestions."""
    rows = tuple(_row(rank, item) for rank, item in enumerate(suggestions.items, 1))
    columns = ("", "route", "in the held-out half", "95 % interval")
    return Card(
        "suggestions",
        _title(suggestions),
        lines=(_explanation(suggestions),),
        tables=(Table(rows, columns, "rlr", header=1),),
        notes=suggestions.notes,
        footer=(_method(suggestions),),
    )


def _row(rank: int, item: Suggestion) -> Row:
    loses = item.heldout_savings_usd < 0
    amount = usd(abs(float(item.heldout_savings_usd)))
    interval = item.heldout_savings_usd_95
    reason = item.note.removeprefix(_TOO_FEW)
    note = [item.note if item.confirmed else f"not confirmed: {reason}"] if item.note else []
    cells = (
        f"{rank}.",
        item.route.name,
        f"costs more: {amount}" if loses else f"saves {amount}",
        usd_interval(negated(interval) if loses else interval),
    )
    sticky = ["whole sessions go where their first request goes"] if item.route.sticky else []
    return Row(cells, (_share_of_cost(item), *sticky, *note))


def _title(suggestions: Suggestions) -> str:
    if not suggestions.items:
        return "no route is suggested"
    count = plural(len(suggestions.items), "route")
    return f"{count} suggested, {len(suggestions.routes)} confirmed"


def _explanation(suggestions: Suggestions) -> str:
    if suggestions.split_at is None:
        start, end = _minute(suggestions.window_start), _minute(suggestions.window_end)
        return f"No requests from {start} to {end} UTC."
    return (
        f"Chosen by {_halves(suggestions)} Savings are USD in that held-out half, against what was "
        f"paid, on {suggestions.heldout_requests:,} of {suggestions.requests:,} requests."
    )


def _halves(suggestions: Suggestions) -> str:
    if suggestions.split_at is None:
        return "a window without requests."
    first, split, last = map(
        _minute, (suggestions.window_start, suggestions.split_at, suggestions.window_end)
    )
    return (
        f"the requests from {first} to {split} UTC, and checked on those from there to {last} UTC."
    )


def _method(suggestions: Suggestions) -> str:
    return (
        f"{suggestions.candidates:,} routes compared. 95 % intervals by method limit, resampling "
        f"by request; of routes that save nothing, about one in 40 is confirmed by chance. "
        f"{_QUALITY}"
    )


def _share_of_cost(item: Suggestion) -> str:
    paid = item.heldout_cost_usd
    share = 100 * abs(item.heldout_savings_usd) / paid if paid else 0
    requests = plural(item.heldout_requests, "request")
    return f"{share:.0f} % of the {usd(float(paid))} paid for {requests}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
