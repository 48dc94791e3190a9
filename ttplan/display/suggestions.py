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
    """The card of suggestions. Without any, it says so and no more."""
    if not suggestions.items:
        lines = () if suggestions.requests else (_explanation(suggestions),)
        return Card("suggestions", _title(suggestions), lines=lines, notes=suggestions.notes)
    rows = tuple(_row(rank, item, suggestions) for rank, item in enumerate(suggestions.items, 1))
    columns = ("", "route", "in the held-out half", "95 % interval")
    none = () if suggestions.routes else ("No saving is confirmed.",)
    return Card(
        "suggestions",
        _title(suggestions),
        lines=(*none, _explanation(suggestions)),
        tables=(Table(rows, columns, "rlr", header=1),),
        notes=suggestions.notes,
        footer=(_method(suggestions),),
    )


def _row(rank: int, item: Suggestion, suggestions: Suggestions) -> Row:
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
    by = [] if item.interval_unit == suggestions.interval_unit else [_by(item)]
    return Row(cells, (_share_of_cost(item), *sticky, *_unserved(item), *by, *note))


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
    clusters = suggestions.interval_unit.endswith("_id")
    units = _unit_text(suggestions.interval_unit if clusters else "request", None)
    return (
        f"the {units} from {first} to {split} UTC, and checked on those from there to {last} UTC."
    )


def _method(suggestions: Suggestions) -> str:
    resampled = _unit_text(suggestions.interval_unit, 1)
    compared = f"{suggestions.candidates:,} routes compared"
    if suggestions.chance_share is None:
        return f"{compared}. {_QUALITY}"
    share, tried = suggestions.chance_share, suggestions.tried
    return (
        f"{compared}, {tried:,} of them checked. 95 % intervals by method hall, resampling by "
        f"{resampled}. If none of those checked saved anything, {100 * share:.2g} % of them would "
        f"be confirmed by chance, and any with a probability of {100 * share * tried:.2g} %. "
        f"{_QUALITY}"
    )


def _unit_text(unit: str, count: int | None) -> str:
    """One unit, or if `count` is None its plural."""
    from ttplan.engine.caveats import unit_text  # slow to import, and loaded if there is a result

    return unit_text(unit, count).removeprefix("1 ")


def _by(item: Suggestion) -> str:
    return f"interval by {_unit_text(item.interval_unit, 1)}, by which this route's savings vary"


def _unserved(item: Suggestion) -> list[str]:
    if not item.unserved_requests:
        return []
    return [f"{plural(item.unserved_requests, 'request')} stay: the target cannot serve them"]


def _share_of_cost(item: Suggestion) -> str:
    paid = item.heldout_cost_usd
    share = 100 * abs(item.heldout_savings_usd) / paid if paid else 0
    requests = plural(item.heldout_requests, "request")
    return f"{share:.0f} % of the {usd(float(paid))} paid for {requests}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
