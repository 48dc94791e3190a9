"""Results of full projections with chosen assumptions, for tests of what people see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.support import plans
from ttplan.model.plan import Interval, PlanResult
from ttplan.model.projection.assumption import AssumptionEffect, AssumptionName
from ttplan.model.projection.full import (
    CacheFit,
    FullProjection,
    IneligibleRequests,
    PairTotals,
    ProjectionInputs,
)
from ttplan.model.route import ProposedRoute

MADE_AT = datetime(2026, 6, 1, tzinfo=UTC)
ROUTE = plans.route(1, name="chat")


def effect(name: AssumptionName, value: object, **changes: Any) -> AssumptionEffect:
    """An assumption about 1,000 requests that go to `mini`; unknown unless `source` is given."""
    fields = {"source": "none", "target_model": "mini", "requests": 1_000, "route": "chat"}
    return AssumptionEffect(name=name, value=value, **(fields | changes))


def pair(**changes: Any) -> PairTotals:
    """1,000 requests that cost 20 USD and would cost 8: 0.008 USD each."""
    fields = dict.fromkeys(
        ("cached_usd", "written_usd", "reasoning_usd", "fees_usd", "rest_usd"), Decimal(0)
    )
    return PairTotals(
        **{
            "route": "chat",
            "source_model": "large",
            "target_model": "mini",
            "requests": 1_000,
            "actual_usd": Decimal(20),
            "projected_usd": Decimal(8),
            "input_usd": Decimal(3),
            "visible_usd": Decimal(5),
            "hidden_token_usd": Decimal("0.01"),
            **fields,
            **changes,
        }
    )


def result(
    *assumptions: AssumptionEffect,
    savings: str = "12",
    interval: Interval | None = (10.0, 14.0),
    other_prices: str | None = None,
    has_answers: bool = False,
    ineligible: Sequence[IneligibleRequests] = (),
    cache_fit: Sequence[CacheFit] = (),
    kept_cache_usd: str = "0",
    routes: tuple[ProposedRoute, ...] = (ROUTE,),
) -> PlanResult:
    """A full projection that saves `savings` of 24.69 USD in one day."""
    replayed = plans.result(UUID(int=1), routes)
    amount = Decimal(savings)
    aggregates = replayed.aggregates.model_copy(
        update={
            "change_vs_actual_usd": amount,
            "savings_at_plan_prices_usd": Decimal(other_prices or savings),
            "requests_ineligible": sum(part.requests for part in ineligible),
            "requests_failed": 7,
        }
    )
    full = FullProjection(
        inputs=ProjectionInputs(prices_at=MADE_AT),
        ineligible=tuple(ineligible),
        pairs=(pair(),),
        cache_fit=tuple(cache_fit),
        kept_cache_usd=Decimal(kept_cache_usd),
        has_answers=has_answers,
    )
    intervals = replayed.confidence_intervals.model_copy(
        update={"change_vs_actual_usd_95": interval}
    )
    return replayed.model_copy(
        update={
            "aggregates": aggregates,
            "confidence_intervals": intervals,
            "assumptions": assumptions,
            "full": full,
        }
    )
