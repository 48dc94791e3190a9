"""What a run has spent, and may still spend. Money is USD."""

from __future__ import annotations

from decimal import Decimal

from ttplan.model.money import MAX_MONEY, round_money


class BudgetTracker:
    """A hard budget: a call is made only where its estimate fits beside what is spent and what is under way."""

    def __init__(self, budget_usd: Decimal) -> None:
        self.budget_usd = budget_usd
        self.spent_usd = Decimal(0)
        self.calls = 0
        self.estimated = False
        self._under_way = Decimal(0)

    def reserve(self, estimate_usd: Decimal) -> bool:
        """Set aside a call's estimate; False where the budget does not allow the call, or is used up."""
        used = self.spent_usd + self._under_way
        # An estimate of 0 is one's own machine, until a call reports otherwise.
        if used + estimate_usd > self.budget_usd or (
            used >= self.budget_usd and self.spent_usd > 0
        ):
            return False
        self._under_way += estimate_usd
        self.calls += 1
        return True

    def settle(self, estimate_usd: Decimal, reported_usd: object) -> None:
        """Book a call that was made: at what it reported, at its estimate where that is nothing or nonsense."""
        self._under_way -= estimate_usd
        cost = _amount(reported_usd)
        self.estimated |= cost is None
        self.spent_usd += estimate_usd if cost is None else cost


def _amount(reported: object) -> Decimal | None:
    if isinstance(reported, bool) or not isinstance(reported, int | float | Decimal):
        return None
    amount = Decimal(str(reported))
    return round_money(amount) if amount.is_finite() and 0 <= amount < MAX_MONEY else None
