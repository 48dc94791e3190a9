"""A plain reading of the replay contract: one loop over rows, whole numbers and fractions, no
engine. Slow on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from tests.oracle_cosine import cosine
from ttplan.model.plan import PlanInput
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute


@dataclass
class Row:
    """One kept request and what becomes of it."""

    request: RequestLog
    route: ProposedRoute | None = None
    l1_hit: bool = False
    l2_hit: bool = False
    hit: bool = False
    cause: str = "already"
    full_rate: Decimal = Decimal(0)
    """Its cost at the target with no discount for cached tokens, 15 digits."""
    uncached: Decimal = Decimal(0)
    """Its cost with no gateway cache."""
    outcome: str = "unchanged"
    projected: Decimal = Decimal(0)
    latency: int | None = None


@dataclass
class Answer:
    """What the oracle says; the names are those of the result."""

    rows: list[Row] = field(default_factory=list)
    sample_size: int = 0
    outside: int = 0
    foreign: int = 0
    latency_unprojected: int = 0
    sweeps: dict[float, Projection] = field(default_factory=dict)

    def total(self, of: Callable[[Row], Any]) -> Any:
        """The sum of `of` over all rows."""
        return sum((of(row) for row in self.rows), Decimal(0))


def matches(route: ProposedRoute, r: RequestLog) -> bool:
    """Whether a route's conditions all hold for a request."""
    when = route.when
    if when.model_in and r.model not in when.model_in:
        return False
    if when.input_tokens_lt is not None and not r.input_tokens < when.input_tokens_lt:
        return False
    if when.input_tokens_gt is not None and not r.input_tokens > when.input_tokens_gt:
        return False
    if when.tag_equals is not None and (r.tag is None or r.tag != when.tag_equals):
        return False
    if when.has_images is not None or when.has_audio is not None:
        return False
    prompt = None if r.body is None else r.body.lower()
    if when.prompt_contains_any_of and (
        prompt is None or not any(k.lower() in prompt for k in when.prompt_contains_any_of)
    ):
        return False
    if when.estimated_cost_gt is not None and not r.baseline_cost_usd > when.estimated_cost_gt:
        return False
    return when.estimated_cost_lt is None or r.baseline_cost_usd < when.estimated_cost_lt


def pick(routes: Sequence[ProposedRoute], r: RequestLog) -> ProposedRoute | None:
    """The first enabled route, by priority and then id, whose conditions hold."""
    best: ProposedRoute | None = None
    for route in routes:
        if not route.enabled or not matches(route, r):
            continue
        if (
            best is None
            or route.priority > best.priority
            or (route.priority == best.priority and route.id < best.id)
        ):
            best = route
    return best


def price_of(pricing: dict[str, ModelPricing], provider: str, target: str) -> ModelPricing | None:
    """The target's price for a provider's request."""
    if f"{provider}:{target}" in pricing:
        return pricing[f"{provider}:{target}"]
    for key in sorted(pricing):
        if key.split(":", 1)[1] == target:
            return pricing[key]
    return None


def cost(r: RequestLog, price: ModelPricing) -> Decimal:
    """What the request costs at that price, rounded half away from zero to 12 digits."""
    cached = min(r.cached_tokens, r.input_tokens)
    cached_rate = (
        price.input_per_million
        if price.cached_input_per_million is None
        else price.cached_input_per_million
    )
    exact = (
        Fraction(r.input_tokens - cached) * Fraction(price.input_per_million)
        + Fraction(cached) * Fraction(cached_rate)
        + Fraction(r.output_tokens) * Fraction(price.output_per_million)
    ) / 10**6
    return Decimal(int(exact * 10**12 + Fraction(1, 2))).scaleb(-12)


def answer(plan: PlanInput) -> Answer:
    """Everything but the intervals."""
    out = Answer()
    for r in plan.requests:
        if not plan.window_start <= r.ts < plan.window_end:
            out.outside += 1
        elif r.org_id != plan.org_id:
            out.foreign += 1
        else:
            out.rows.append(Row(r, pick(plan.proposed_routes, r)))
    out.sample_size = len(out.rows)
    if plan.config.l1_ttl_seconds is not None:
        project_l1(out.rows, timedelta(seconds=plan.config.l1_ttl_seconds))
    project_l2(out, plan)
    for row in out.rows:
        row.hit = row.l1_hit or row.l2_hit
    medians = median_latencies([row.request for row in out.rows])
    for row in out.rows:
        decide(row, plan.pricing)
        row.latency = row.request.latency_ms
        if row.outcome in ("rerouted", "refused") and row.latency is not None:
            assert row.route is not None
            if row.route.then.target_model in medians:
                row.latency = medians[row.route.then.target_model]
            else:
                out.latency_unprojected += 1
    return out


def project_l1(rows: list[Row], ttl: timedelta) -> None:
    """Mark the L1 hits: within the TTL of the key's last miss."""
    last_miss: dict[tuple[str, str, int, str | None], datetime] = {}
    for row in sorted(rows, key=lambda row: (row.request.ts, row.request.id)):
        if row.route is not None and row.route.then.disable_cache:
            continue
        r = row.request
        key = (r.provider, r.model, r.input_tokens, r.tag)
        if key in last_miss and r.ts - last_miss[key] <= ttl:
            row.l1_hit = True
        else:
            last_miss[key] = r.ts


class Projection(NamedTuple):
    """One threshold's pass: how many were looked up, each hit's source, and which are candidates
    for poisoning."""

    total: int
    hits: dict[UUID, UUID]
    poisoned: set[UUID]


def diverged(source: RequestLog, current: RequestLog) -> bool:
    """Whether serving the one's answer for the other may be wrong."""
    if (
        source.finish_reason is not None
        and current.finish_reason is not None
        and source.finish_reason != current.finish_reason
    ):
        return True
    return abs(source.output_tokens - current.output_tokens) > max(20, current.output_tokens // 4)


def diverged_or_short(source: RequestLog, current: RequestLog) -> bool:
    """The rule of full projections: short answers are suspects, equal ones never."""
    if source.answer_hash is not None and source.answer_hash == current.answer_hash:
        return False
    if source.output_tokens < 20 or current.output_tokens < 20:
        return True
    return diverged(source, current)


def project(
    rows: Sequence[Row],
    threshold: float,
    ttl: timedelta,
    differs: Callable[[RequestLog, RequestLog], bool] = diverged,
) -> Projection:
    """One pass in (ts, id) order."""
    entries: dict[tuple[str, str], list[RequestLog]] = {}
    out = Projection(0, {}, set())
    total = 0
    for row in sorted(rows, key=lambda row: (row.request.ts, row.request.id)):
        r = row.request
        if r.embedding is None or (row.route is not None and row.route.then.disable_cache):
            continue
        total += 1
        bucket = entries.setdefault((r.provider, r.model), [])
        best: tuple[np.float32, RequestLog] | None = None
        for entry in bucket:
            if expired(entry.ts, r.ts, ttl):
                continue
            near = cosine(r.embedding, entry.embedding or ())
            if near >= np.float32(threshold) and (best is None or near > best[0]):
                best = near, entry
        if best is None:
            bucket.append(r)
            continue
        out.hits[r.id] = best[1].id
        if differs(best[1], r):
            out.poisoned.add(r.id)
    return out._replace(total=total)


def expired(then: datetime, now: datetime, ttl: timedelta) -> bool:
    """Whether an entry of `then` is older than the TTL."""
    return now - then > ttl


def project_l2(
    out: Answer,
    plan: PlanInput,
    differs: Callable[[RequestLog, RequestLog], bool] = diverged,
) -> None:
    """A pass for each threshold, and the hits of the one that counts for cost."""
    config = plan.config
    if config.l2_ttl_seconds is None:
        return
    for threshold in config.l2_threshold_sweep:
        ttl = timedelta(seconds=config.l2_ttl_seconds)
        projection = project(out.rows, threshold, ttl, differs)
        if projection.total == 0:
            return
        out.sweeps[threshold] = projection
        if threshold == config.l2_threshold:
            for row in out.rows:
                row.l2_hit = row.request.id in projection.hits


def decide(row: Row, pricing: dict[str, ModelPricing]) -> None:
    """Outcome and projected cost."""
    r, route = row.request, row.route
    row.uncached = r.cost_usd
    if route is not None:
        price = price_of(pricing, r.provider, route.then.target_model)
        if price is None:
            row.outcome = "unpriced"
        else:
            row.outcome, projected = "rerouted", cost(r, price)
            ceiling = route.then.max_cost_usd
            over = ceiling is not None and projected > ceiling
            if over and not row.hit:
                row.outcome = "refused"
            if not over:
                row.cause, row.uncached = "routes", projected
                rate = (
                    price.input_per_million
                    if price.cached_input_per_million is None
                    else price.cached_input_per_million
                )
                tokens = min(r.cached_tokens, r.input_tokens)
                row.full_rate = projected + (price.input_per_million - rate) * tokens / 10**6
    row.projected = Decimal(0) if row.hit else row.uncached


def causes(rows: Sequence[Row]) -> dict[str, Decimal]:
    """Baseline minus projected by cause; a fraction of the last digit belongs to the routes."""
    moved = [row for row in rows if row.cause == "routes"]
    discount = sum((Fraction(row.full_rate) - Fraction(row.uncached) for row in moved), Fraction(0))
    whole = abs(discount) * 10**12
    provider = Decimal(int(whole + Fraction(1, 2))).scaleb(-12) * (-1 if discount < 0 else 1)
    zero = Decimal(0)
    return {
        "already": sum(
            (
                row.request.baseline_cost_usd - row.uncached
                for row in rows
                if row.cause == "already"
            ),
            zero,
        ),
        "routes": sum((row.request.baseline_cost_usd - row.uncached for row in moved), zero)
        - provider,
        "provider_cache": provider,
        "l1_cache": sum((row.uncached for row in rows if row.l1_hit), zero),
        "l2_cache": sum((row.uncached for row in rows if row.l2_hit and not row.l1_hit), zero),
    }


def median_latencies(requests: Sequence[RequestLog]) -> dict[str, int]:
    """Element n // 2 of each model's sorted latencies."""
    by_model: dict[str, list[int]] = {}
    for r in requests:
        if r.latency_ms is not None:
            by_model.setdefault(r.model, []).append(r.latency_ms)
    return {model: sorted(values)[len(values) // 2] for model, values in by_model.items()}


def percentile(values: Sequence[int], q: float) -> float:
    """Element round_half_away(q * (n - 1)) of the sorted values."""
    if not values:
        return 0.0
    rank = int(Decimal(q * (len(values) - 1)).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return float(sorted(values)[rank])


def per_route(rows: Sequence[Row]) -> list[tuple[UUID, str, int, Decimal, Decimal]]:
    """(id, name, matched, baseline, projected) of each route that took something, by id."""
    rows_by_id: dict[UUID, tuple[str, int, Decimal, Decimal]] = {}
    for row in rows:
        if row.outcome in ("rerouted", "refused"):
            assert row.route is not None
            name, n, baseline, projected = rows_by_id.get(
                row.route.id, (row.route.name, 0, Decimal(0), Decimal(0))
            )
            rows_by_id[row.route.id] = (
                name,
                n + 1,
                baseline + row.request.baseline_cost_usd,
                projected + row.projected,
            )
    return [(route_id, *rows_by_id[route_id]) for route_id in sorted(rows_by_id)]
