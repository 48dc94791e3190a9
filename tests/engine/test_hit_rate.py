"""The interval of a projected hit rate, if repeated prompts come in bursts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from tests.support import universe
from tests.support.strategies import ORG, START
from ttplan import replay
from ttplan.model.plan import PlanConfig
from ttplan.model.request import RequestLog

SESSIONS, LENGTH, WINDOWS = 120, 25, 60
CONFIG = PlanConfig(projection="full", l1_ttl_seconds=3_600, cluster="auto")


def repeats(rng: np.random.Generator) -> np.ndarray:
    """For each request of each session, whether it is the session's one prompt that comes again;
    sessions differ much in how often they send it."""
    share = rng.beta(0.3, 0.7, SESSIONS)
    return rng.random((SESSIONS, LENGTH)) < share[:, None]


def hit_rate(repeated: np.ndarray) -> float:
    """The share of requests whose prompt came before in their session."""
    return float(np.maximum(repeated.sum(axis=1) - 1, 0).sum() / repeated.size)


def log(repeated: np.ndarray, rng: np.random.Generator) -> tuple[RequestLog, ...]:
    """The requests of a day, all of one length; each session takes a few minutes."""
    starts = rng.integers(0, 86_000, SESSIONS)
    return tuple(
        RequestLog(
            id=UUID(int=s << 32 | i),
            org_id=ORG,
            ts=START + timedelta(seconds=int(starts[s]) + 10 * i),
            provider="openai",
            model="gpt-4o",
            input_tokens=500,
            output_tokens=50,
            cached_tokens=0,
            cost_usd=Decimal("0.01"),
            baseline_cost_usd=Decimal("0.01"),
            cached=False,
            latency_ms=900,
            status=200,
            session_id=f"{s}",
            prompt_hash=f"{s}" if repeated[s, i] else f"{s}/{i}",
        )
        for s in range(SESSIONS)
        for i in range(LENGTH)
    )


@pytest.mark.statistics
def test_intervals_of_hit_rates_cover_under_bursts() -> None:
    rng = np.random.default_rng(11)
    truth = float(np.mean([hit_rate(repeats(rng)) for _ in range(4_000)]))
    covered, units = 0, set()
    for _ in range(WINDOWS):
        repeated = repeats(rng)
        plan = universe.plan(
            log(repeated, rng),
            proposed_routes=(),
            config=CONFIG,
            window_end=START + timedelta(days=2),
        )
        result = replay(plan)
        assert result.aggregates.cache_hit_rate_projected == hit_rate(repeated)
        assert result.confidence_intervals.cache_hit_rate_95 is not None
        low, high = result.confidence_intervals.cache_hit_rate_95
        covered += low <= truth <= high
        units.add(result.interval_unit)
    assert units == {"session_id"}
    assert covered / WINDOWS >= 0.88  # 95 % covers as little in one of 200 runs
