"""L1 hits against the plain rule, whatever the batches that they are read in."""

from __future__ import annotations

import random

import duckdb
import ibis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import universe
from ttplan import replay
from ttplan.engine import cache, dialects
from ttplan.engine.replay import run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.model.route import RouteConditions

Row = tuple[int, int, int]
"""Two numbers of a key, and a time."""


def plainly(rows: list[Row], ttl: int) -> list[bool]:
    """The rule, row by row."""
    missed: dict[tuple[int, int], int] = {}
    hits = []
    for first, second, ts in rows:
        last = missed.get((first, second))
        hits.append(last is not None and ts - last <= ttl)
        if not hits[-1]:
            missed[(first, second)] = ts
    return hits


def in_batches(rows: list[Row], ttl_seconds: int, sizes: list[int]) -> list[bool]:
    all_hits: list[bool] = []
    open_key = None
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    start = 0
    for size in [*sizes, len(rows)]:
        part = columns[start : start + size]
        hits, open_key = cache.continued_hits(
            (part[:, 0], part[:, 1]), part[:, 2], ttl_seconds, open_key
        )
        all_hits += hits.tolist()
        start += size
    return all_hits


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(-(10**7), 10**7)), max_size=60
    ),
    st.integers(0, 8),
    st.lists(st.integers(0, 9), max_size=30),
)
def test_hits_are_the_same_whatever_the_batches(
    rows: list[Row], ttl: int, sizes: list[int]
) -> None:
    rows = sorted(rows)
    assert in_batches(rows, ttl, sizes) == plainly(rows, ttl * 1_000_000)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.just(0), st.integers(-(2**61), 2**61)), max_size=40),
    st.integers(0, 2**40),
)
def test_times_too_far_apart_for_one_number_are_ranked(rows: list[Row], ttl: int) -> None:
    rows = sorted(rows)
    assert in_batches(rows, ttl, []) == plainly(rows, ttl * 1_000_000)


def test_no_rows_are_no_hits_and_leave_the_key_open() -> None:
    hits, open_key = cache.continued_hits((np.array([4]), np.array([5])), np.array([6]), 1, None)
    assert (hits.tolist(), open_key) == ([False], ((4, 5), 6))
    empty = np.zeros(0, dtype=np.int64)
    none, still = cache.continued_hits((empty, empty), empty, 1, open_key)
    assert (none.tolist(), still) == ([], open_key)


@pytest.mark.parametrize("batch", [7, 2_048])
def test_a_replay_is_the_same_whatever_the_size_of_batches(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [
        r.model_copy(update={"input_tokens": r.input_tokens % 5})
        for r in universe.log(2_500, seed=9)
    ]
    plan = universe.plan(tuple(requests), config=PlanConfig(l1_ttl_seconds=60))
    expected = replay(plan)
    assert expected.cache_hits is not None
    assert (expected.cache_hits.l1 or 0) > 1_000
    monkeypatch.setattr(cache, "BATCH", batch)
    random.Random(batch).shuffle(requests)
    assert (
        run_replay(to_table(requests), ReplaySpec.from_plan(plan)).result.model_dump_json()
        == expected.model_dump_json()
    )


def test_hits_are_the_same_without_row_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = tuple(
        r.model_copy(update={"tag": None if i % 5 else r.tag})
        for i, r in enumerate(universe.log(600, seed=3))
    )
    plan = universe.plan(requests, config=PlanConfig(l1_ttl_seconds=600))
    expected = replay(plan)
    monkeypatch.setattr(dialects, "is_eager", lambda table: False)
    assert (
        run_replay(to_table(requests), ReplaySpec.from_plan(plan)).result.model_dump_json()
        == expected.model_dump_json()
    )


def test_rows_of_a_table_are_numbered_once_each() -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE many AS SELECT uuid() AS id, i FROM range(300000) AS n(i)")
    table = ibis.duckdb.from_connection(connection).table("many")
    with dialects.numbered(table.filter(table.i % 3 > 0)) as kept:
        counts = (
            kept.aggregate(n=kept.count(), distinct=kept.row.nunique(), last=kept.row.max())
            .to_pyarrow()
            .to_pylist()[0]
        )
    assert counts == {"n": 200_000, "distinct": 200_000, "last": 199_999}


def full_result(hashes: list[str | None], tag: str = "none") -> PlanResult:
    """A full projection of requests of one template, a second apart, with these prompt hashes; a
    route takes those with `tag`."""
    rows = tuple(
        r.model_copy(update={"input_tokens": 50, "tag": ("a", "b")[i % 2], "prompt_hash": hashed})
        for i, (r, hashed) in enumerate(zip(universe.log(len(hashes), seed=5), hashes, strict=True))
    )
    config = PlanConfig(projection="full", l1_ttl_seconds=3_600)
    (route,) = universe.plan(()).proposed_routes
    route = route.model_copy(update={"when": RouteConditions(tag_equals=tag)})
    return replay(universe.plan(rows, proposed_routes=(route,), config=config))


def test_one_template_without_a_repeated_prompt_saves_nothing() -> None:
    result = full_result([f"{i}" for i in range(60)])
    assert result.aggregates.change_vs_actual_usd == 0
    assert (result.aggregates.cache_hit_rate_projected, result.l1_upper_bound) == (0, None)


def test_requests_without_a_hash_have_an_upper_bound() -> None:
    result = full_result([None] * 60)
    assert result.aggregates.change_vs_actual_usd == 0
    bound = result.l1_upper_bound
    assert bound is not None
    assert (bound.requests, bound.hits) == (60, 58)
    assert 0 < bound.cost_usd < result.aggregates.total_actual_cost_usd
    (caveat,) = [text for text in result.caveats if "hash" in text]
    assert caveat == (
        "60 requests have no hash of the prompt: no exact (L1) cache hit of theirs counts. As an "
        f"upper bound, 58 of them, which cost {bound.cost_usd:,.2f} USD, can be hits: those that "
        "came within the TTL of one with the same model and tag and number of input tokens."
    )


@pytest.mark.slow
def test_requests_share_answers_only_if_one_model_serves_them() -> None:
    apart, together = full_result(["p"] * 6, tag="a"), full_result(["p"] * 6)
    assert apart.cache_hits is not None
    assert together.cache_hits is not None
    assert (apart.cache_hits.l1, together.cache_hits.l1) == (4, 5)


@pytest.mark.slow
def test_hashed_hits_are_the_same_without_row_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = [None if i % 7 == 0 else f"{i % 5}" for i in range(60)]
    expected = full_result(hashes).model_dump_json()
    monkeypatch.setattr(dialects, "is_eager", lambda table: False)
    assert full_result(hashes).model_dump_json() == expected
