"""Routes that a log's own history speaks for."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Money, SignedMoney
from ttplan.model.plan import Interval
from ttplan.model.request import UtcDatetime
from ttplan.model.route import ProposedRoute

Dimension = Literal["tag", "model", "input_tokens"]
"""What a suggested route may tell requests apart by."""

_OUT = ConfigDict(frozen=True, extra="forbid")


class Suggestion(BaseModel):
    """One proposed route, with what it would have changed. Money is USD.

    Savings are what was paid minus what the target would have cost: what applying the route changes. They are signed, and a
    request that is with the target already counts none. The selecting half chose the route, so its figure is too good; the
    held-out half had no say, and its figure, with a 95 % interval, is what to expect of a window as long as that half.
    `confirmed` says that the interval's lower end is above 0 and that enough requests carry it; `note` says why not.

    `requests` and the three costs are of the whole window: what a replay of the route counts in the route's row.
    """

    model_config = _OUT

    route: ProposedRoute
    requests: int
    baseline_cost_usd: Money
    actual_cost_usd: Money
    projected_cost_usd: Money
    selected_savings_usd: SignedMoney
    heldout_requests: int
    heldout_cost_usd: Money
    heldout_savings_usd: SignedMoney
    heldout_savings_usd_95: Interval
    confirmed: bool
    note: str = ""


class Suggestions(BaseModel):
    """What a window suggests, ranked by the savings in the selecting half. No request is matched by two of the routes.

    The selecting half is `window_start` (inclusive) to `split_at` (exclusive), the held-out one `split_at` to `window_end`.
    `split_at` is None where there are no requests.
    """

    model_config = _OUT

    org_id: UUID
    window_start: UtcDatetime
    split_at: UtcDatetime | None
    window_end: UtcDatetime
    requests: int
    heldout_requests: int
    candidates: int
    """How many routes were compared."""
    items: tuple[Suggestion, ...]
    notes: tuple[str, ...] = ()

    @property
    def routes(self) -> tuple[ProposedRoute, ...]:
        """The confirmed routes."""
        return tuple(item.route for item in self.items if item.confirmed)
