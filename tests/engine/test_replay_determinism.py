"""The same input gives the same JSON to the last byte: whatever the order of its rows and the
number of threads."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest

from tests.support import universe
from tests.support.strategies import ORG
from ttplan import replay
from ttplan.engine.replay import replay_table, run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.errors import InputError
from ttplan.model.plan import IntervalMethod, PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import RouteConditions


@pytest.mark.parametrize("method", ["auto", "limit", "resample", "tt-plan-core"])
@pytest.mark.parametrize("ttl", [None, 60])
def test_order_and_threads_change_no_byte(method: IntervalMethod, ttl: int | None) -> None:
    requests = universe.log(1000, seed=1)
    plan = universe.plan(requests, bootstrap_iterations=50, config=PlanConfig(l1_ttl_seconds=ttl))
    expected = replay(plan, interval_method=method).model_dump_json()
    shuffled = list(requests)
    for threads in (1, 8):
        random.Random(threads).shuffle(shuffled)
        repeated = run_replay(
            to_table(shuffled, threads=threads), ReplaySpec.from_plan(plan, method)
        ).result
        assert repeated.model_dump_json() == expected


def test_order_and_threads_change_no_byte_of_a_semantic_cache() -> None:
    rng = np.random.default_rng(9)
    centres = rng.normal(size=(200, 64))
    near = [
        (centres[rng.integers(200)] + rng.normal(size=64) * rng.choice([0.0, 0.2, 0.35])).tolist()
        for _ in range(1000)
    ]
    requests = [
        r.model_copy(update={"embedding": vector, "finish_reason": "stop" if n % 5 else "length"})
        for n, (r, vector) in enumerate(zip(universe.log(1000, seed=9), near, strict=True))
    ]
    config = PlanConfig(l1_ttl_seconds=30, l2_ttl_seconds=600, l2_threshold=0.9, cluster="tag")
    plan = universe.plan(tuple(requests), bootstrap_iterations=50, config=config)
    expected = replay(plan)
    assert expected.cache_hits is not None
    assert expected.cache_hits.both > 0
    assert expected.poisoning_candidates
    for threads in (1, 8):
        random.Random(threads).shuffle(requests)
        repeated = run_replay(
            to_table(requests, threads=threads), ReplaySpec.from_plan(plan)
        ).result
        assert repeated.model_dump_json() == expected.model_dump_json()


def test_a_result_survives_json() -> None:
    result = replay(universe.plan(universe.log(300, seed=2)))
    text = result.model_dump_json()
    assert PlanResult.model_validate_json(text).model_dump_json() == text


def test_no_routes_and_no_rows_are_zeros() -> None:
    result = replay(universe.plan((), proposed_routes=()))
    assert result.sample_size == 0
    assert result.aggregates.total_baseline_cost_usd == 0
    assert result.confidence_intervals.savings_usd_95 == (0, 0)
    assert result.interval_method == "limit"


def test_method_auto_resamples_below_200_requests() -> None:
    requests = universe.log(200, seed=3)
    assert replay(universe.plan(requests)).interval_method == "limit"
    assert replay(universe.plan(requests[:199])).interval_method == "resample"


@pytest.mark.parametrize("method", ["limit", "resample", "tt-plan-core"])
@pytest.mark.parametrize("count", [1, 2, 199, 300])
def test_a_method_required_by_name_is_used(method: IntervalMethod, count: int) -> None:
    plan = universe.plan(universe.log(count, seed=3), bootstrap_iterations=50)
    result = replay(plan, interval_method=method)
    assert result.interval_method == method
    interval = result.confidence_intervals.savings_usd_95
    assert interval is not None
    assert interval[0] <= interval[1]


@pytest.mark.parametrize("method", ["auto", "limit", "resample"])
def test_method_auto_resamples_below_200_clusters(method: IntervalMethod) -> None:
    requests = tuple(
        request.model_copy(update={"session_id": str(n % 60)})
        for n, request in enumerate(universe.log(400, seed=3))
    )
    plan = universe.plan(requests, bootstrap_iterations=50, config=PlanConfig(cluster="session_id"))
    used = "resample" if method == "auto" else method
    assert replay(plan, interval_method=method).interval_method == used


def test_an_unknown_method_is_an_error() -> None:
    methods = "auto, hall, limit, resample, tt-plan-core"
    with pytest.raises(InputError, match=f"expected one of {methods}"):
        replay(universe.plan(universe.log(3, seed=3)), interval_method="magic")  # type: ignore[arg-type]


def test_replay_table_answers_as_replay_does() -> None:
    plan = universe.plan(universe.log(500, seed=4))
    result = universe.replayed(to_table(plan.requests), plan)
    assert result == replay(plan)


def test_replay_table_names_a_missing_column() -> None:
    table = to_table(universe.log(3, seed=4)).drop("tag")
    with pytest.raises(InputError, match="no column tag"):
        replay_table(table, (), {}, org_id=ORG)


def test_heavy_tails_are_resampled_with_a_caveat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ttplan.engine.intervals.infer.DRAWS", 10**6)
    requests = list(universe.log(250, seed=5))
    whale = Decimal(50_000)
    requests[7] = requests[7].model_copy(
        update={"cost_usd": whale, "baseline_cost_usd": whale, "tag": "chat"}
    )
    result = replay(universe.plan(tuple(requests)))
    assert result.interval_method == "limit+resample"
    caveat_text = next(
        caveat for caveat in result.caveats if "Few requests carry the cost" in caveat
    )
    assert "the largest alone has 100.0% of the baseline" in caveat_text
    assert "4,000 seeded resamples" in caveat_text
    low, high = result.confidence_intervals.savings_usd_95 or (0, 0)
    assert low == pytest.approx(0, abs=1)
    assert high > 100_000
    assert result == replay(universe.plan(tuple(requests)))
    limit = replay(universe.plan(tuple(requests)), interval_method="limit")
    assert limit.interval_method == "limit"
    assert any(
        "required by name, the savings intervals are not reliable" in c for c in limit.caveats
    )


def test_a_losing_plan_has_clipped_savings_and_signed_change() -> None:
    dear = {
        "openai:gpt-4o-mini": ModelPricing(
            input_per_million=Decimal(900), output_per_million=Decimal(900)
        )
    }
    result = replay(universe.plan(universe.log(400, seed=6), pricing=dear))
    ends = result.confidence_intervals
    assert result.aggregates.projected_savings_usd == 0
    assert ends.savings_usd_95 == (0, 0)
    assert ends.savings_pct_95 == (0, 0)
    assert ends.projected_change_usd_95 is not None
    low, high = ends.projected_change_usd_95
    assert low < float(result.aggregates.projected_change_usd) < high < 0
    assert ends.change_vs_actual_usd_95 == ends.projected_change_usd_95


@pytest.mark.parametrize("has_images", [True, False])
def test_a_full_projection_reads_who_has_images(has_images: bool) -> None:
    told: tuple[dict[str, object], ...] = (
        {"input_image_tokens": 85},
        {"body": '[{"type": "image_url"}]'},
        {"input_image_tokens": 0},
        {"body": "text"},
        {},
    )
    log = universe.log(5, seed=1)
    rows = tuple(r.model_copy(update=told[n]) for n, r in enumerate(log))
    when = RouteConditions(has_images=has_images)
    routes = (universe.plan(()).proposed_routes[0].model_copy(update={"when": when}),)
    config = PlanConfig(projection="full")
    full = replay(universe.plan(rows, proposed_routes=routes, config=config))
    assert sum(part.matched for part in full.per_route_breakdown) == 2
    reference = replay(universe.plan(rows, proposed_routes=routes))
    assert reference.per_route_breakdown == ()


def test_conditions_that_history_cannot_answer_are_caveats() -> None:
    when = RouteConditions(has_images=False, prompt_contains_any_of=("sql",), tag_equals="chat")
    untagged = tuple(r.model_copy(update={"tag": None}) for r in universe.log(20, seed=1))
    routes = (universe.plan(()).proposed_routes[0].model_copy(update={"when": when}),)
    result = replay(universe.plan(untagged, proposed_routes=routes))
    assert result.aggregates.requests_unchanged == 20
    caveat_text = "\n".join(result.caveats)
    assert "No log says whether a request has images or audio" in caveat_text
    assert "20 requests have no recorded prompt" in caveat_text
    assert "20 requests have no tag" in caveat_text
    assert "Small sample: 20 requests" in caveat_text
    # A log may say which requests have images, and full projections read it.
    config = PlanConfig(projection="full")
    full = replay(universe.plan(untagged, proposed_routes=routes, config=config))
    assert "Requests with neither a body nor counts of images and audio cannot match" in "\n".join(
        full.caveats
    )
