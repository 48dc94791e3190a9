"""Clusters: sums that are exact, intervals that brute force confirms, and bursts that request-level
intervals do not see."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.support import universe
from tests.support.bursts import bursts, coverage
from tests.support.strategies import ORG, START
from ttplan import replay
from ttplan.engine.intervals import clusters
from ttplan.engine.intervals.clusters import ClusterSums, describe, fetch_clusters, grid_powers
from ttplan.engine.latency import percentile_rank
from ttplan.engine.project import map_requests
from ttplan.engine.replay import replay_table, run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.errors import InputError
from ttplan.model.plan import Clusters, Interval, PlanConfig, PlanInput
from ttplan.model.request import RequestLog

Key = tuple[bool, str]


def sessions(requests: tuple[RequestLog, ...], count: int, seed: int) -> tuple[RequestLog, ...]:
    """The requests, each in one of some sessions, or in none."""
    rng = random.Random(seed)
    names = [f"s{n}" for n in range(count)]
    return tuple(r.model_copy(update={"session_id": rng.choice([*names, None])}) for r in requests)


def clustered(plan: PlanInput, cluster: str = "session_id", **config: Any) -> PlanInput:
    return plan.model_copy(update={"config": PlanConfig(cluster=cluster, **config)})


def key_of(request: RequestLog, cluster: str) -> Key:
    """What the contract says belongs together; null first."""
    if cluster in ("hour", "day"):
        return True, request.ts.strftime("%Y-%m-%d %H" if cluster == "hour" else "%Y-%m-%d")
    value = getattr(request, cluster)
    return value is not None, value or ""


@pytest.mark.parametrize("cluster", ["hour", "day", "tag", "session_id"])
@pytest.mark.parametrize("ttl", [None, 600])
def test_sums_of_clusters_are_the_plain_loops(cluster: str, ttl: int | None) -> None:
    spread = [
        r.model_copy(
            update={
                "ts": START + timedelta(hours=n % 53, seconds=3599 + n % 2, microseconds=999_999)
            }
        )
        for n, r in enumerate(sessions(universe.log(300, seed=1), 40, seed=2))
    ]
    plan = clustered(
        universe.plan(tuple(spread), window_end=START + timedelta(days=9)),
        cluster,
        l1_ttl_seconds=ttl,
    )
    spec = ReplaySpec.from_plan(plan)
    rows = oracle.answer(plan).rows
    with map_requests(to_table(plan.requests), spec) as mapped:
        sums = fetch_clusters(mapped, mapped.hit, mapped.latency_ms)
    expected: dict[Key, list[int]] = defaultdict(lambda: [0] * 5)
    for row in rows:
        r = row.request
        values = (
            1,
            row.hit,
            _pico(r.baseline_cost_usd - row.projected),
            _pico(r.baseline_cost_usd),
        )
        sums_of_key = expected[key_of(r, cluster)]
        for i, value in enumerate((*values, _pico(r.cost_usd - row.projected))):
            sums_of_key[i] += value
    columns = (sums.requests, sums.hits, sums.difference, sums.baseline, sums.actual_difference)
    computed = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert computed == sorted(tuple(sums_of_key) for sums_of_key in expected.values())
    assert sums.timed.sum() == len(rows)
    median = int(np.median([row.request.latency_ms or 0 for row in rows]))
    assert sums.at_most(median).sum() == sum(
        (row.request.latency_ms or 0) <= median for row in rows
    )


def _pico(amount: Decimal) -> int:
    return int(amount.scaleb(12))


values = st.integers(-(2**62), 2**62) | st.integers(-5, 5) | st.integers(-(2**90), 2**90)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=20))
@settings(deadline=None)
def test_power_sums_of_clusters_are_exact(pairs: list[tuple[int, int]]) -> None:
    s, b = (clusters_amounts([pair[i] for pair in pairs]) for i in (0, 1))
    step = clusters.step_for(s, b)

    def rounded(value: int) -> int:
        return (1 if value >= 0 else -1) * ((2 * abs(value) + step) // (2 * step))

    powers = grid_powers(s, b, step)
    for (j, k), total in powers.items():
        assert total == sum(rounded(x) ** j * rounded(y) ** k for x, y in pairs)
    assert len(powers) == 14


def clusters_amounts(numbers: list[int]) -> Any:
    fits = all(abs(n) < 2**62 for n in numbers)
    return np.array(numbers, dtype=np.int64 if fits else np.object_)


def brute_force(sums: ClusterSums, resamples: int, seed: int) -> dict[str, Interval]:
    """Plain resampling of clusters, by numpy's own generator."""
    rng = np.random.default_rng(seed)
    n = len(sums)
    samples: dict[str, list[float]] = defaultdict(list)
    by_cluster = [np.repeat(sums.latency_value[own], sums.latency_count[own]) for own in _own(sums)]
    for _ in range(resamples):
        drawn = rng.integers(0, n, n)
        samples["usd"].append(sums.difference[drawn].sum() / 1e12)
        samples["pct"].append(100 * sums.difference[drawn].sum() / sums.baseline[drawn].sum())
        samples["hits"].append(sums.hits[drawn].sum() / sums.requests[drawn].sum())
        latencies = np.sort(np.concatenate([by_cluster[c] for c in drawn]))
        for q in (0.5, 0.95):
            samples[f"p{q}"].append(float(latencies[percentile_rank(q, len(latencies))]))
    return {
        name: (float(np.quantile(v, 0.025)), float(np.quantile(v, 0.975)))
        for name, v in samples.items()
    }


def _own(sums: ClusterSums) -> list[Any]:
    return [np.flatnonzero(sums.latency_cluster == c) for c in range(len(sums))]


@pytest.mark.statistics
@pytest.mark.parametrize(("count", "method"), [(80, "resample"), (500, "limit")])
def test_intervals_of_clusters_are_those_of_brute_force(count: int, method: str) -> None:
    requests = sessions(universe.log(6_000, seed=4), count, seed=5)
    requests = tuple(
        r.model_copy(update={"latency_ms": r.latency_ms and r.latency_ms // 10}) for r in requests
    )
    plan = clustered(universe.plan(requests, bootstrap_iterations=4_000), l1_ttl_seconds=30)
    result = replay(plan)
    assert (result.interval_method, result.interval_unit) == (method, "session_id")
    spec = ReplaySpec.from_plan(plan)
    rows = {row.request.id: row for row in oracle.answer(plan).rows}
    latency = tuple(r.model_copy(update={"latency_ms": rows[r.id].latency}) for r in requests)
    with map_requests(to_table(latency), spec) as mapped:
        sums = fetch_clusters(mapped, mapped.hit, mapped.latency_ms)
    expected = brute_force(sums, 4_000, seed=6)
    ends = result.confidence_intervals
    for name, interval in (
        ("usd", ends.projected_change_usd_95),
        ("pct", ends.projected_change_pct_95),
        ("hits", ends.cache_hit_rate_95),
        ("p0.5", ends.p50_latency_ms_95),
        ("p0.95", ends.p95_latency_ms_95),
    ):
        assert interval is not None
        low, high = expected[name]
        # Both are of 4,000 resamples, or one is: a tenth of a width is some three times their
        # noise.
        assert interval[0] == pytest.approx(
            low, abs=max((high - low) / 10, 1 if name.startswith("p0") else 0)
        ), name
        assert interval[1] == pytest.approx(
            high, abs=max((high - low) / 10, 1 if name.startswith("p0") else 0)
        ), name


@pytest.mark.parametrize(
    ("cluster", "count"), [("hour", 30), ("session_id", 30), ("session_id", 400)]
)
def test_order_and_threads_change_no_byte_of_clustered_results(cluster: str, count: int) -> None:
    requests = sessions(universe.log(800, seed=7), count, seed=8)
    plan = clustered(universe.plan(requests, bootstrap_iterations=200), cluster, l1_ttl_seconds=60)
    expected = replay(plan).model_dump_json()
    shuffled = list(requests)
    for threads in (1, 8):
        random.Random(threads).shuffle(shuffled)
        assert (
            run_replay(
                to_table(shuffled, threads=threads), ReplaySpec.from_plan(plan)
            ).result.model_dump_json()
            == expected
        )


def test_clusters_of_one_request_each_are_requests() -> None:
    requests = tuple(
        r.model_copy(update={"session_id": str(r.id)}) for r in universe.log(700, seed=9)
    )
    plan = universe.plan(requests)
    plain, alone = replay(plan), replay(clustered(plan))
    assert alone.clusters is not None
    assert alone.clusters.count == 700
    for name in ("savings_usd_95", "savings_pct_95", "change_vs_actual_usd_95"):
        assert getattr(alone.confidence_intervals, name) == pytest.approx(
            getattr(plain.confidence_intervals, name), rel=1e-6
        )


def test_few_clusters_have_a_caveat_or_no_interval() -> None:
    log = universe.log(3_000, seed=10)

    def of(count: int) -> tuple[Any, str]:
        result = replay(
            clustered(universe.plan(tuple(_session(r, n % count) for n, r in enumerate(log))))
        )
        return result, "\n".join(result.caveats)

    result, caveats = of(60)
    assert "clusters" not in caveats
    result, caveats = of(30)
    assert "Few clusters: 30 clusters by session_id are worth" in caveats
    assert result.confidence_intervals.savings_usd_95 is not None
    result, caveats = of(9)
    assert "No intervals: 9 clusters by session_id are worth" in caveats
    assert result.interval_method == "none"
    assert set(result.confidence_intervals.model_dump().values()) == {None}
    assert result.aggregates.projected_savings_usd > 0


def _session(request: RequestLog, number: int) -> RequestLog:
    return request.model_copy(update={"session_id": str(number)})


def test_effective_clusters_are_the_worse_of_cost_and_requests() -> None:
    def described(requests: list[int], baseline: list[int]) -> Clusters:
        return describe(len(requests), np.array(baseline), np.array(requests))

    equal = described([5] * 20, [7] * 20)
    assert (equal.count, equal.effective, equal.largest_share) == (20, 20, 0.05)
    assert described([5] * 20, [93] + [1] * 19).effective == pytest.approx(112**2 / (93**2 + 19))
    assert described([93] + [1] * 19, [7] * 20).largest_share == 93 / 112
    assert described([1, 3], [0, 0]).largest_share == 0.75


def test_null_is_one_cluster() -> None:
    requests = tuple(
        r.model_copy(update={"tag": None if n % 2 else ""})
        for n, r in enumerate(universe.log(400, seed=11))
    )
    result = replay(clustered(universe.plan(requests), "tag"))
    assert result.clusters is not None
    assert (result.clusters.count, result.clusters.largest_share > 0.5) == (2, True)


def test_the_reference_method_does_not_support_clusters() -> None:
    with pytest.raises(InputError, match="'tt-plan-core' does not support clusters"):
        replay(clustered(universe.plan(universe.log(300, seed=1))), interval_method="tt-plan-core")


def test_any_column_of_a_table_can_cluster() -> None:
    plan = universe.plan(universe.log(600, seed=12))
    table = to_table(plan.requests)
    table = table.mutate(customer=table.input_tokens % 60)
    options: dict[str, Any] = {
        "org_id": ORG,
        "window_start": plan.window_start,
        "window_end": plan.window_end,
    }
    result = replay_table(
        table, plan.proposed_routes, plan.pricing, PlanConfig(cluster="customer"), **options
    )
    assert result.clusters is not None
    assert (result.clusters.count, result.interval_unit) == (60, "customer")
    with pytest.raises(
        InputError, match=r"config\.cluster is 'nobody', and the log has no such column"
    ):
        replay_table(
            table, plan.proposed_routes, plan.pricing, PlanConfig(cluster="nobody"), **options
        )


@pytest.mark.statistics
@pytest.mark.parametrize("sessions", [30, 60, 250])
def test_only_clustered_intervals_cover_the_truth_of_bursts(
    sessions: int,
) -> None:
    logs = 600
    by_request, by_session = coverage(sessions, logs, seed=13)
    assert by_request < 0.5
    assert 0.90 <= by_session <= 0.97


def test_the_quick_coverage_is_the_engines_own() -> None:
    """`coverage` skips the engine: here one of its logs goes all the way."""
    log = bursts(np.random.default_rng(14), 250)
    plan = universe.plan(log.requests(), window_end=START + timedelta(days=1))
    plain, together = replay(plan), replay(clustered(plan))
    assert plain.confidence_intervals.projected_change_pct_95 == pytest.approx(
        log.by_request(), rel=1e-6
    )
    assert together.confidence_intervals.projected_change_pct_95 == pytest.approx(
        log.by_session(), rel=1e-6
    )
