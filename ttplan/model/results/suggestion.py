"""Routes that a log's history supports."""

from __future__ import annotations

from uuid import UUID

from ttplan.model.base import FrozenModel, UtcDatetime
from ttplan.model.money import Money, SignedMoney
from ttplan.model.plan import Interval
from ttplan.model.route import ProposedRoute


class Suggestion(FrozenModel):
    """A suggested route, with what it would have changed. Money is USD.

    The route was chosen on one half of the window, so its savings there are too optimistic. Expect
    the held-out half's figure for a window as long as that half.

    Attributes
    ----------
    route : ProposedRoute
    requests, baseline_cost_usd, actual_cost_usd, projected_cost_usd
        Of the whole window, as a replay of the route reports them.
    selected_savings_usd, heldout_savings_usd : Decimal
        Actual cost minus cost on the target, signed, in each half. A request that the target
        already serves counts as 0.
    heldout_savings_usd_95 : tuple of float
    confirmed : bool
        Whether the interval's lower end is above 0 and enough requests support it.
    note : str
        Why it is not confirmed.
    """

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


class Suggestions(FrozenModel):
    """Suggested routes, ranked by savings in the selecting half. No two match the same request.

    Attributes
    ----------
    window_start, window_end : datetime
        UTC; inclusive and exclusive.
    split_at : datetime or None
        End of the selecting half and start of the held-out one; None without requests.
    candidates : int
        Number of routes that were compared.
    items : tuple of Suggestion
    """

    org_id: UUID
    window_start: UtcDatetime
    split_at: UtcDatetime | None
    window_end: UtcDatetime
    requests: int
    heldout_requests: int
    candidates: int
    items: tuple[Suggestion, ...]
    notes: tuple[str, ...] = ()

    @property
    def routes(self) -> tuple[ProposedRoute, ...]:
        """The confirmed routes."""
        return tuple(item.route for item in self.items if item.confirmed)
