"""The sample agrees with the oracle, is proportional and independent of the order of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle_quality as oracle
from ttplan.model.errors import InputError
from ttplan.quality.judge.accuracy import wilson_interval_pct
from ttplan.quality.sampling import MAX_SAMPLE, SIZES, Sample, SampleRow, draw_sample

TAGS = [None, "", "chat", "code", "ΟΔΟΣ", "\U0001f600", "\uffff"]
seeds = st.sampled_from([0, 1, 42, 2**64 - 1]) | st.integers(0, 2**64 - 1)


@st.composite
def populations(draw_from: st.DrawFn) -> list[SampleRow]:
    """Up to 60 requests in few strata, with close or distant ids, and sizes at the bounds."""
    ids = draw_from(
        st.lists(st.integers(0, 80) | st.integers(0, 2**128 - 1), max_size=60, unique=True)
    )
    tokens = st.sampled_from([0, 1, 499, 500, 501, 3999, 4000, 4001, 10**12 - 1])
    return [
        SampleRow(UUID(int=i), draw_from(st.sampled_from(TAGS)), draw_from(tokens)) for i in ids
    ]


def universe(count: int, tags: Sequence[str | None] = (None, "a", "b")) -> list[SampleRow]:
    """Requests with random ids, tags and sizes, the same each time."""
    random = np.random.default_rng(7)
    ids = random.bytes(16 * count)
    picked = random.integers(len(tags), size=count)
    tokens = random.integers(0, 9_000, size=count)
    return [
        SampleRow(UUID(bytes=ids[16 * i : 16 * i + 16]), tags[int(picked[i])], int(tokens[i]))
        for i in range(count)
    ]


@given(populations(), st.integers(0, 70), seeds)
def test_the_sample_is_the_oracles(rows: list[SampleRow], size: int, seed: int) -> None:
    assert draw_sample(rows, size, seed=seed).drawn == oracle.drawn(rows, size, seed)


@given(populations(), st.integers(0, 70), seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(
    rows: list[SampleRow], size: int, seed: int, random: object
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    forced = [row.id for row in rows[::7]]
    assert draw_sample(shuffled, size, seed=seed, forced=reversed(forced)) == draw_sample(
        rows, size, seed=seed, forced=forced
    )


@given(populations(), st.integers(0, 70), seeds)
def test_strata_and_tags_get_their_share_rounded_down_or_up(
    rows: list[SampleRow], size: int, seed: int
) -> None:
    sample = draw_sample(rows, size, seed=seed)
    size = min(size, len(rows))
    assert len(sample.drawn) == len(set(sample.drawn)) == size
    by_tag: Counter[str | None] = Counter()
    requests_by_tag: Counter[str | None] = Counter()
    for stratum in sample.strata:
        assert abs(stratum.drawn - stratum.requests * size / len(rows)) < 1
        by_tag[stratum.tag] += stratum.drawn
        requests_by_tag[stratum.tag] += stratum.requests
    for tag, requests in requests_by_tag.items():
        assert abs(by_tag[tag] - requests * size / len(rows)) < 1


@given(populations(), st.integers(0, 70), seeds)
def test_the_strata_say_what_was_drawn_from_them(
    rows: list[SampleRow], size: int, seed: int
) -> None:
    sample = draw_sample(rows, size, seed=seed)
    stratum_of = {row.id: (row.tag, SIZES[oracle.size_of(row.input_tokens)]) for row in rows}
    assert Counter(stratum_of.values()) == {(s.tag, s.size): s.requests for s in sample.strata}
    drawn = Counter(stratum_of[request_id] for request_id in sample.drawn)
    assert drawn == {(s.tag, s.size): s.drawn for s in sample.strata if s.drawn}
    assert sample.population == len(rows)


def test_shares_that_are_whole_numbers_are_met_exactly() -> None:
    rows = [SampleRow(UUID(int=i), "a" if i < 900 else "b", 100) for i in range(1000)]
    for seed in range(20):
        assert [s.drawn for s in draw_sample(rows, 100, seed=seed).strata] == [90, 10]


def test_the_bounds_of_the_sizes_belong_to_the_smaller() -> None:
    rows = [
        SampleRow(UUID(int=i), None, tokens) for i, tokens in enumerate([0, 500, 501, 4000, 4001])
    ]
    assert [(s.size, s.requests) for s in draw_sample(rows, 5, seed=0).strata] == list(
        zip(SIZES, [2, 2, 1], strict=True)
    )


def test_no_tag_and_an_empty_tag_are_two() -> None:
    rows = [SampleRow(UUID(int=0), None, 1), SampleRow(UUID(int=1), "", 1)]
    assert [s.tag for s in draw_sample(rows, 2, seed=0).strata] == [None, ""]


def test_another_seed_draws_another_sample() -> None:
    rows = universe(500)
    assert len({draw_sample(rows, 20, seed=seed).drawn for seed in range(10)}) == 10


@pytest.mark.statistics
def test_every_request_has_the_same_chance_whatever_its_stratum() -> None:
    # One large stratum, a medium one and many of one request: the method of largest remainders
    # would never draw from the last.
    tags = ["big"] * 60 + ["mid"] * 9 + [f"rare {i}" for i in range(31)]
    rows = [SampleRow(UUID(int=i), tag, 1) for i, tag in enumerate(tags)]
    runs = 4_000
    times = Counter(
        request_id for seed in range(runs) for request_id in draw_sample(rows, 13, seed=seed).drawn
    )
    expected, error = runs * 0.13, (runs * 0.13 * 0.87) ** 0.5
    assert all(abs(times[row.id] - expected) < 5 * error for row in rows)


@pytest.mark.statistics
def test_the_share_is_unbiased_and_its_interval_covers() -> None:
    # Degradation differs by stratum: a sample out of proportion would be off.
    rate = {"a": 0.02, "b": 0.1, None: 0.4}
    rows = universe(4_000, ["a"] * 6 + ["b"] * 3 + [None])
    random = np.random.default_rng(11)
    degraded = {row.id: bool(random.random() < rate[row.tag]) for row in rows}
    truth = 100 * sum(degraded.values()) / len(rows)
    shares, covered, runs = [], 0, 400
    ids = pa.array([row.id.bytes for row in rows], pa.binary(16))
    table = pa.table(
        {
            "id": ids,
            "tag": [row.tag for row in rows],
            "input_tokens": [row.input_tokens for row in rows],
        }
    )
    for seed in range(runs):
        hits = sum(degraded[request_id] for request_id in draw_sample(table, 200, seed=seed).drawn)
        low, high = wilson_interval_pct(hits, 200)
        shares.append(hits / 2)
        covered += low <= truth <= high
    assert abs(np.mean(shares) - truth) < 4 * np.std(shares) / runs**0.5
    assert covered / runs > 0.93


def test_a_new_request_hardly_changes_the_sample() -> None:
    rows = universe(5_000)
    before = set(draw_sample(rows, 100, seed=3).drawn)
    after = set(draw_sample([*rows, SampleRow(UUID(int=5), "a", 10)], 100, seed=3).drawn)
    # Only rounding may move, by one in each of the 9 strata.
    assert len(before - after) <= 9


def test_what_is_drawn_first_is_a_sample_of_all_strata() -> None:
    rows = universe(6_000)
    tag_of = {row.id: row.tag for row in rows}
    first = Counter(
        tag_of[request_id] for request_id in draw_sample(rows, 3_000, seed=1).drawn[:600]
    )
    assert all(abs(first[tag] - 200) < 60 for tag in (None, "a", "b"))


def test_forced_requests_are_in_beside_the_sample_known_or_not() -> None:
    rows = universe(200)
    plain = draw_sample(rows, 10, seed=1)
    forced = [plain.drawn[0], rows[0].id, UUID(int=77), rows[0].id]
    sample = draw_sample(rows, 10, seed=1, forced=forced)
    assert sample.drawn == plain.drawn
    assert sample.forced == tuple(sorted(set(forced)))
    assert sample.ids == (*plain.drawn, *(i for i in sample.forced if i not in plain.drawn))


def test_nothing_to_draw_from_is_an_empty_sample() -> None:
    assert draw_sample([], 10, seed=0) == Sample((), (), (), 0, 0)
    assert draw_sample(universe(5), 0, seed=0).drawn == ()


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([str(row.id) for row in universe(300)], pa.string()),
        pa.array([str(row.id).upper() for row in universe(300)], pa.large_string()),
        pa.array([row.id.hex for row in universe(300)], pa.string_view()),
        pa.array([row.id.bytes for row in universe(300)], pa.uuid()),
        pa.array(["x" * 36, *(str(row.id) for row in universe(300))], pa.string()).slice(1),
        pa.array([b"x" * 16, *(row.id.bytes for row in universe(300))], pa.binary(16)).slice(1),
        pa.chunked_array([pa.array([str(row.id)]) for row in universe(300)]),
    ],
    ids=["text", "upper case", "no dashes", "arrow uuid", "sliced text", "sliced bytes", "chunks"],
)
def test_ids_may_come_in_any_form(ids: pa.Array | pa.ChunkedArray) -> None:
    rows = universe(300)
    table = pa.table(
        {"id": ids, "tag": [r.tag for r in rows], "input_tokens": [r.input_tokens for r in rows]}
    )
    assert draw_sample(table, 30, seed=9) == draw_sample(rows, 30, seed=9)


def test_a_table_from_duckdb_can_be_drawn_from_in_any_order() -> None:
    sql = """SELECT md5(i::VARCHAR)::UUID AS id,
        CASE WHEN i % 3 > 0 THEN 'tag' || i % 5 END AS tag, i % 7000 AS input_tokens
        FROM range(20000) t(i) ORDER BY """
    samples = []
    for order in ("i", "hash(i)", "tag, -i"):
        rows = duckdb.sql(sql + order)
        assert rows is not None
        samples.append(draw_sample(rows.to_arrow_table(), 200, seed=5))
    assert samples[0] == samples[1] == samples[2]
    assert len(samples[0].drawn) == 200


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("id", ["nonsense"], "'nonsense' is not a UUID"),
        ("id", ["g" * 32], "is not a UUID"),
        ("id", [None], "no id"),
        ("input_tokens", pa.array([None], pa.int64()), "no input_tokens"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(column: str, values: object, message: str) -> None:
    columns = {"id": [str(UUID(int=1))], "tag": ["a"], "input_tokens": [1], column: values}
    with pytest.raises(InputError, match=message):
        draw_sample(pa.table(columns), 1, seed=0)


def test_a_request_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="more than once"):
        draw_sample([SampleRow(UUID(int=1), "a", 1)] * 2, 2, seed=0)


@pytest.mark.parametrize(("size", "seed"), [(-1, 0), (MAX_SAMPLE + 1, 0), (1, -1), (1, 2**64)])
def test_sizes_and_seeds_out_of_range_are_refused(size: int, seed: int) -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        draw_sample([], size, seed=seed)
