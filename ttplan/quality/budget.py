"""What a run has spent and may still spend. Money is USD."""

from __future__ import annotations

from decimal import Decimal

from ttplan.model.money import MAX_MONEY, round_money


class BudgetTracker:
    """A hard budget: a call is allowed only if its estimate fits into what is left."""

    def __init__(self, budget_usd: Decimal) -> None:
        self.budget_usd = budget_usd
        self.spent_usd = Decimal(0)
        self.calls = 0
        self.estimated = False
        self._reserved = Decimal(0)

    def reserve(self, estimate_usd: Decimal) -> bool:
        """Reserve a call's estimate; False if the budget does not allow it, or is used up."""
        used = self.spent_usd + self._reserved
        is_used_up = used >= self.budget_usd and self.spent_usd > 0
        # An estimate of 0 means a local model, unless calls report a cost.
        if used + estimate_usd > self.budget_usd or is_used_up:
            return False
        self._reserved += estimate_usd
        self.calls += 1
        return True

    def settle(self, estimate_usd: Decimal, reported_usd: object) -> None:
        """Record a call: at its reported cost, or at its estimate if that is missing or invalid."""
        self._reserved -= estimate_usd
        cost = parse_amount(reported_usd)
        self.estimated |= cost is None
        self.spent_usd += estimate_usd if cost is None else cost


def parse_amount(reported: object) -> Decimal | None:
    """Return an amount in USD that a party reported; None if it is missing or invalid."""
    if isinstance(reported, bool) or not isinstance(reported, int | float | Decimal):
        return None
    amount = Decimal(str(reported))
    return round_money(amount) if amount.is_finite() and 0 <= amount < MAX_MONEY else None
