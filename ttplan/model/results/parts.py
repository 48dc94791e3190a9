"""Parts of a plan's result: semantic hits, hits by cache level, savings and change by cause, and a
coming month."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from ttplan.model.base import FrozenModel
from ttplan.model.money import SignedMoney


class L2Projection(FrozenModel):
    """What a semantic cache at one similarity threshold would have done.

    `total` counts the requests that could be looked up; `projected_l2_hit_rate` is 0 to 1.
    `also_l1_hits` of the hits are hits of the projected L1 cache, too; the others would save
    `saves_usd` (USD per window).
    """

    threshold: float
    total: int
    projected_l2_hits: int
    projected_l2_hit_rate: float
    poisoning_candidates: int
    also_l1_hits: int = 0
    saves_usd: SignedMoney = Decimal(0)


class PoisoningCandidate(FrozenModel):
    """A projected semantic hit whose two answers ended differently, so it may be wrong.

    `thresholds` are those of the sweep at which this source serves the request.
    """

    request_id: UUID
    source_id: UUID
    thresholds: tuple[float, ...]
    cosine: float
    finish_reason: str | None
    source_finish_reason: str | None
    output_tokens: int
    source_output_tokens: int


class CacheHits(FrozenModel):
    """Projected hits of each cache level alone, and of both together.

    `l2` is at the threshold that counts for cost, else None.
    """

    l1: int | None
    l2: int | None
    both: int
    either: int


class L1UpperBound(FrozenModel):
    """Requests without a hash of the prompt, whose hits of an exact cache cannot be told.

    At most `hits` of the `requests` can be hits. They cost `cost_usd` (USD per window), of which
    nothing counts as saved.
    """

    requests: int
    hits: int
    cost_usd: SignedMoney


class SavingsByCause(FrozenModel):
    """Baseline minus projected cost by cause; the parts add up. USD per window, signed.

    `already`: what routing and caching recorded in the log save on requests that the plan leaves
    alone. `routes`: the target's price without its discount for cached tokens. `provider_cache`:
    that discount. `l1_cache`, `l2_cache`: what a hit would have cost after that; a hit of both
    levels counts for L1.
    """

    already: SignedMoney
    routes: SignedMoney
    provider_cache: SignedMoney
    l1_cache: SignedMoney
    l2_cache: SignedMoney


class ChangeByCause(FrozenModel):
    """Actual minus projected cost by cause, in this order; the parts add up. USD per window,
    signed.

    Attributes
    ----------
    prices
        The tokens of the moved requests, as many as they are at the source and none of them
        cached: at the source's list price minus at the target's.
    tokens
        More or fewer tokens on the target, and answers that are asked again or cut off.
    caches
        What caches save: those of providers, also for requests that stay, and the gateway's.
    fees
        Fees by request and by web search.
    recorded
        What these leave: recorded cost that the list prices do not explain, as far as it is not
        paid on the target. Of a source without a price it is all.
    """

    prices: SignedMoney
    tokens: SignedMoney
    caches: SignedMoney
    fees: SignedMoney
    recorded: SignedMoney


class PerMonth(FrozenModel):
    """What a plan changes in a coming month of 30.44 days, if traffic goes on as in the window.

    Attributes
    ----------
    change_vs_actual_usd : Decimal
        Paid minus projected, USD per month, at the prices of the plan's moment.
    change_vs_actual_usd_95 : (float, float) or None
        The 95 % prediction interval of one month's change; None if nothing tells.
    unit : str
        Whose totals and number are random: `request`, a session column or a time.
    weekdays, trend : bool
        Whether days of the week count equally, and whether the window's trend goes on. Both need
        two weeks.
    """

    change_vs_actual_usd: SignedMoney
    change_vs_actual_usd_95: tuple[float, float] | None
    unit: str
    weekdays: bool
    trend: bool
