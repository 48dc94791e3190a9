"""The interval of a share and the bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ttplan.model.results.quality import RiskBand
from ttplan.quality.judge.accuracy import percent, wilson_interval_pct


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_scipys_wilson(case: tuple[int, int]) -> None:
    hits, n = case
    expected = binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert wilson_interval_pct(hits, n) == pytest.approx(
        (100 * expected.low, 100 * expected.high), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # R. G. Newcombe, Interval Estimation for the Single Proportion, Statistics in Medicine 17
    # (1998), table I, method 3.
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_the_interval_is_that_of_the_literature(hits: int, n: int, low: float, high: float) -> None:
    assert wilson_interval_pct(hits, n) == pytest.approx((low, high), abs=0.005)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_in_range(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = wilson_interval_pct(hits, n)
    assert 0 <= low <= percent(hits, n) <= high <= 100
    assert (low == 0) == (hits == 0)
    assert (high == 100) == (hits == n)


@pytest.mark.parametrize(("share", "n"), [(0.03, 200), (0.1, 100), (0.1, 400), (0.3, 60)])
def test_the_interval_covers_the_truth_95_times_in_100(share: float, n: int) -> None:
    hits = np.random.default_rng(1).binomial(n, share, 20_000)
    covered = (
        sum(
            low <= 100 * share <= high
            for low, high in (wilson_interval_pct(int(k), n) for k in hits)
        )
        / 20_000
    )
    assert 0.93 < covered < 0.98


@pytest.mark.parametrize(
    ("pct", "expected"),
    [
        (None, RiskBand.UNVERIFIED),
        (0.0, RiskBand.LOW),
        (5.0, RiskBand.LOW),
        (np.nextafter(5.0, 6), RiskBand.MEDIUM),
        (15.0, RiskBand.MEDIUM),
        (np.nextafter(15.0, 16), RiskBand.HIGH),
        (100.0, RiskBand.HIGH),
    ],
)
def test_the_bands_include_their_upper_ends(pct: float | None, expected: RiskBand) -> None:
    assert RiskBand.of(pct) is expected


@pytest.mark.parametrize("n", range(20, 4_000, 20))
def test_five_and_fifteen_percent_are_exact(n: int) -> None:
    assert RiskBand.of(percent(n // 20, n)) is RiskBand.LOW
    assert RiskBand.of(percent(n // 20 + 1, n)) is not RiskBand.LOW
    assert RiskBand.of(percent(3 * n // 20, n)) is RiskBand.MEDIUM
    assert RiskBand.of(percent(3 * n // 20 + 1, n)) is RiskBand.HIGH
