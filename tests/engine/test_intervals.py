"""The intervals against brute force, against a known truth, and against the ecosystem's
generator."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from tests.paths import VECTORS
from ttplan.engine.intervals import bootstrap, edgeworth
from ttplan.engine.intervals.bootstrap import FloatRows
from ttplan.engine.intervals.chacha import draws, key_from_seed, words
from ttplan.engine.latency import percentile, percentile_rank
from ttplan.engine.summary import GRID, POWERS

VECTORS = json.loads((VECTORS / "chacha8.json").read_text())


def power_sums(
    difference: np.ndarray, baseline: np.ndarray
) -> tuple[dict[tuple[int, int], int], int]:
    """Power sums on the grid, and its step, of whole 10^-12 USD."""
    step = max(1, -(-int(max(np.abs(difference).max(), baseline.max())) // GRID))
    s = [int(x) for x in np.sign(difference) * ((2 * np.abs(difference) + step) // (2 * step))]
    b = [int(x) for x in (2 * baseline + step) // (2 * step)]
    return {(j, k): sum(x**j * y**k for x, y in zip(s, b, strict=True)) for j, k in POWERS}, step


def sample(n: int, sigma: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Baselines of lognormal cost, and what a plan saves of each: more than half for most, a loss
    for some."""
    rng = np.random.default_rng(seed)
    baseline = (rng.lognormal(0, sigma, n) * 1e9).astype(np.int64) + 1
    share = np.where(rng.random(n) < 0.7, rng.uniform(0.4, 0.9, n), rng.uniform(-0.2, 0.1, n))
    return (baseline * share).astype(np.int64), baseline


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("sigma", "n"), [(0.8, 200), (0.8, 1000), (1.5, 1000), (2.0, 5000), (2.5, 20_000)]
)
def test_limit_agrees_with_20000_brute_force_resamples(sigma: float, n: int) -> None:
    """To 0.1 standard errors, on mild and heavy-tailed costs."""
    difference, baseline = sample(n, sigma, seed=int(sigma * 10) + n)
    powers, step = power_sums(difference, baseline)
    assert edgeworth.relative_error(powers, n) < edgeworth.UNTRUSTED_ERROR
    rng = np.random.default_rng(1)
    totals, ratios = np.empty(20_000), np.empty(20_000)
    for i in range(20_000):
        rows = rng.integers(0, n, n)
        d, b = difference[rows].sum(), baseline[rows].sum()
        totals[i], ratios[i] = d / 1e12, d / b
    ends = edgeworth.total_interval(
        {j: powers[(j, 0)] for j in range(1, 5)}, step, int(difference.sum()), n
    )
    ratio = edgeworth.ratio_interval(powers, step, int(difference.sum()), int(baseline.sum()), n)
    assert ratio is not None
    np.testing.assert_allclose(
        ends, np.quantile(totals, [0.025, 0.975]), atol=0.1 * totals.std(), rtol=0
    )
    np.testing.assert_allclose(
        ratio, np.quantile(ratios, [0.025, 0.975]), atol=0.1 * ratios.std(), rtol=0
    )


@pytest.mark.statistics
def test_limit_covers_a_known_truth_95_times_in_100() -> None:
    """Over 1,000 universes of 1,000 rows; the savings share's truth comes from the law that the
    rows are drawn from."""
    covered_usd, covered_pct, universes, n = 0, 0, 1000, 1000
    big_d, big_b = sample(4_000_000, 0.8, seed=99)
    truth_usd, truth_pct = big_d.mean() * n / 1e12, big_d.sum() / big_b.sum()
    for universe in range(universes):
        difference, baseline = sample(n, 0.8, seed=1000 + universe)
        powers, step = power_sums(difference, baseline)
        low, high = edgeworth.total_interval(
            {j: powers[(j, 0)] for j in range(1, 5)}, step, int(difference.sum()), n
        )
        covered_usd += low <= truth_usd <= high
        ends = edgeworth.ratio_interval(powers, step, int(difference.sum()), int(baseline.sum()), n)
        assert ends is not None
        covered_pct += ends[0] <= truth_pct <= ends[1]
    assert 930 <= covered_usd <= 970
    assert 930 <= covered_pct <= 970


def test_the_hit_rate_has_binomial_quantiles() -> None:
    for hits, n in [(0, 300), (1, 300), (150, 300), (299, 300), (300, 300), (12_345, 1_000_000)]:
        expected = tuple(float(binom.ppf(p, n, hits / n)) / n for p in (0.025, 0.975))
        if hits in (0, n):
            expected = (hits / n, hits / n)
        assert edgeworth.share_interval(hits, n) == expected


def test_percentile_ends_are_those_of_the_exact_bootstrap() -> None:
    """Against 20,000 resamples: each end's own probability is within their noise of 2.5 % and 97.5
    %."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 500, 400)
    for q in (0.5, 0.95):
        interval = edgeworth.percentile_interval(Counter(values.tolist()), q)
        rank = percentile_rank(q, 400)
        resampled = np.sort(
            np.partition(values[rng.integers(0, 400, (20_000, 400))], rank, axis=1)[:, rank]
        )
        for end, p in zip(interval, (0.025, 0.975), strict=True):
            assert np.mean(resampled < end) - 0.006 <= p <= np.mean(resampled <= end) + 0.006


def test_constant_differences_have_an_interval_of_no_width() -> None:
    difference, baseline = np.full(500, 10**9), np.full(500, 4 * 10**9)
    powers, step = power_sums(difference, baseline)
    assert edgeworth.total_interval(
        {j: powers[(j, 0)] for j in range(1, 5)}, step, 500 * 10**9, 500
    ) == (0.5, 0.5)
    assert edgeworth.ratio_interval(powers, step, 500 * 10**9, 2000 * 10**9, 500) == (0.25, 0.25)


def test_the_expansion_is_not_trusted_with_a_heavy_tail() -> None:
    baseline = np.array([10**15] + [10**6] * 999)
    powers, _ = power_sums(baseline // 2, baseline)
    assert edgeworth.relative_error(powers, 1000) > edgeworth.UNTRUSTED_ERROR


def test_percentile_rank_rounds_half_away_from_zero() -> None:
    assert [percentile_rank(0.5, n) for n in (1, 2, 3, 4)] == [0, 1, 1, 2]
    assert percentile({10: 1, 20: 1}, 0.5) == 20
    assert percentile({}, 0.5) == 0


@pytest.mark.parametrize("vector", VECTORS["seeds"], ids=lambda v: str(v["seed"]))
def test_seeds_become_keys_and_words_as_in_rand_0_8(vector: dict[str, object]) -> None:
    seed = vector["seed"]
    assert isinstance(seed, int)
    assert key_from_seed(seed).hex() == vector["key_hex"]
    assert [str(word) for word in words(seed).random_raw(8)] == vector["first_u64"]


@pytest.mark.parametrize("vector", VECTORS["indices"], ids=lambda v: f"{v['seed']}-{v['n']}")
def test_row_numbers_are_drawn_as_in_rand_0_8(vector: dict[str, object]) -> None:
    seed, n, first = vector["seed"], vector["n"], vector["first"]
    assert isinstance(seed, int)
    assert isinstance(n, int)
    assert isinstance(first, list)
    stream = np.concatenate([block.ravel() for block in draws(seed, n, -(-len(first) // n))])
    assert stream[: len(first)].tolist() == first


def test_draws_do_not_depend_on_how_they_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws(5, 37, 100)))
    monkeypatch.setattr("ttplan.engine.intervals.chacha._CHUNK", 100)
    assert np.array_equal(np.concatenate(list(draws(5, 37, 100))), whole)


def test_tt_plan_core_intervals_are_sums_in_draw_order() -> None:
    """Against the same arithmetic, one addition at a time."""
    rng = np.random.default_rng(8)
    n, resamples, seed = 53, 200, 42
    rows = FloatRows(
        rng.lognormal(0, 1, n),
        rng.lognormal(-0.5, 1, n),
        rng.random(n) < 0.3,
        rng.integers(0, 99, n),
    )
    usd, pct = [], []
    stream = iter(np.concatenate([b.ravel() for b in draws(seed, n, resamples)]).tolist())
    for _ in range(resamples):
        total = 0.0
        for _ in range(n):
            i = next(stream)
            total += max(float(rows.baseline[i]) - float(rows.projected[i]), 0.0)
        usd.append(total / n)
    stream = iter(np.concatenate([b.ravel() for b in draws(seed + 1, n, resamples)]).tolist())
    for _ in range(resamples):
        b = p = 0.0
        for _ in range(n):
            i = next(stream)
            b += float(rows.baseline[i])
            p += float(rows.projected[i])
        pct.append(max((b - p) / b * 100.0, 0.0))
    usd.sort()
    pct.sort()
    assert bootstrap.reference_total_interval(rows, seed, resamples) == (usd[5] * n, usd[195] * n)
    assert bootstrap.reference_pct_interval(rows, seed + 1, resamples) == (pct[5], pct[195])


def test_resampled_sums_are_exact_past_64_bits() -> None:
    values = np.array([2**62, 2**62 - 1, -(2**61)])
    rows = np.concatenate(list(draws(1, 3, 50)))
    expected = sorted(sum(int(values[i]) for i in row) for row in rows.tolist())
    ends = (expected[1] / 10**12, expected[48] / 10**12)
    assert bootstrap.total_intervals((values, values.astype(object)), 1, 50) == [ends, ends]
