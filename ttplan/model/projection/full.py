"""What a full projection is made of besides requests and routes, and what it adds to a result."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from pydantic import Field

from ttplan.model.base import FrozenModel, UtcDatetime
from ttplan.model.money import Money, SignedMoney
from ttplan.model.pricing import TokenRates
from ttplan.model.projection.assumption import Assumption
from ttplan.model.projection.capabilities import ModelFacts


class PricePiece(FrozenModel):
    """The price of a model for a range of times and prompt lengths. Ends are exclusive; None is
    unbounded. `over_input_tokens` is exclusive, -1 for all prompts; `up_to_input_tokens` inclusive.
    """

    provider: str
    model: str
    endpoint: str | None = None
    service_tier: str | None = None
    start: UtcDatetime | None = None
    end: UtcDatetime | None = None
    day_from: int = 0
    day_until: int = 86_400
    over_input_tokens: int = -1
    up_to_input_tokens: int | None = None
    rates: TokenRates


class ProjectionInputs(FrozenModel):
    """What a full projection knows of models: prices, capabilities, cache rules, assumptions.

    Facts are by `provider:model`. `prices_at` is the plan's moment.
    """

    prices: tuple[PricePiece, ...] = ()
    facts: dict[str, ModelFacts] = Field(default_factory=dict)
    assumptions: tuple[Assumption, ...] = ()
    prices_at: datetime | None = None


class IneligibleRequests(FrozenModel):
    """Requests that a route matches and its target cannot serve, and what they cost. USD."""

    reason: str
    requests: int
    cost_usd: Money


class PairTotals(FrozenModel):
    """The exact sums of the requests that a route moves from one model to another. USD.

    Savings of these requests are a function of the assumptions by these sums. `hidden_token_usd`
    is what one more hidden token in each answer would cost.
    """

    route: str
    source_model: str
    target_model: str
    requests: int
    actual_usd: Money
    projected_usd: Money
    input_usd: SignedMoney
    cached_usd: Money
    written_usd: Money
    visible_usd: Money
    reasoning_usd: Money
    fees_usd: Money
    rest_usd: SignedMoney
    hidden_token_usd: Money


class CacheFit(FrozenModel):
    """How well the cache rule explains the recorded reads of a model, in tokens."""

    model: str
    recorded_tokens: int
    predicted_tokens: int


class FullProjection(FrozenModel):
    """What a full projection adds to a result. USD per window.

    `kept_cache_usd` is what requests that stay save because the routes change what their provider
    has cached. `prices_change` are the times after the plan's moment at which a price of its models
    is known to change. `has_answers` is whether the log has recorded answers, which can be judged.
    """

    inputs: ProjectionInputs
    ineligible: tuple[IneligibleRequests, ...] = ()
    pairs: tuple[PairTotals, ...] = ()
    cache_fit: tuple[CacheFit, ...] = ()
    kept_cache_usd: SignedMoney = Decimal(0)
    has_answers: bool = False
    prices_change: tuple[UtcDatetime, ...] = ()
