"""Routes that a log's history supports."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from ttplan.model.base import FrozenModel, OmitsDefaults, UtcDatetime
from ttplan.model.money import Money, SignedMoney
from ttplan.model.plan import Interval
from ttplan.model.route import ProposedRoute


class Suggestion(OmitsDefaults, FrozenModel):
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
        Whether the interval's lower end is above 0, the adjusted p-value is at most 0.05, and
        enough requests support it.
    note : str
        Why it is not confirmed.
    adjusted_p_value : float or None
        The one-sided p-value of no saving in the held-out half, adjusted for all routes that were
        tried (Holm).
    interval_unit : str
        What the interval resamples, as in a plan's result.
    unserved_requests : int
        Requests of the route that the target cannot serve. They stay where they are.
    """

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {"adjusted_p_value", "interval_unit", "unserved_requests"}
    )

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
    adjusted_p_value: float | None = None
    interval_unit: str = "request"
    unserved_requests: int = 0


class Suggestions(OmitsDefaults, FrozenModel):
    """Suggested routes, ranked by savings in the selecting half. No two match the same request.

    Attributes
    ----------
    window_start, window_end : datetime
        UTC; inclusive and exclusive.
    split_at : datetime or None
        End of the selecting half and start of the held-out one; None without requests. A unit is
        in the half in which it begins.
    candidates : int
        Number of routes that the selecting half compared.
    items : tuple of Suggestion
    interval_unit : str
        The unit that is in one half as a whole: `request`, a column of the log such as
        `session_id`, or a block of time.
    tried : int
        Number of routes that the held-out half checked.
    chance_share : float or None
        The share of those that would be confirmed by chance if none saved anything.
    """

    OMITTED: ClassVar[frozenset[str]] = frozenset({"interval_unit", "tried", "chance_share"})

    org_id: UUID
    window_start: UtcDatetime
    split_at: UtcDatetime | None
    window_end: UtcDatetime
    requests: int
    heldout_requests: int
    candidates: int
    items: tuple[Suggestion, ...]
    notes: tuple[str, ...] = ()
    interval_unit: str = "request"
    tried: int = 0
    chance_share: float | None = None

    @property
    def routes(self) -> tuple[ProposedRoute, ...]:
        """The confirmed routes."""
        return tuple(item.route for item in self.items if item.confirmed)
