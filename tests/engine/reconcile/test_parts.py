"""The parts of the difference between actual and projected cost against plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttplan.engine.reconcile.parts import PARTS, InputRates, Sums, compare_sums

KINDS = 3


@st.composite
def sums(draw: st.DrawFn, *, live: bool, any_size: bool = True) -> Sums:
    """Few rows, of any size if wanted; afterwards there are kinds that the window has none of."""
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    rows = int(generator.integers(1, 12))
    size = 10.0 ** generator.integers(-6, 3) if any_size else 1.0
    amounts = generator.integers(0, 50, (6, rows)) * size
    kinds = generator.integers(-1 if live else 0, KINDS, rows)
    if not live:
        kinds[0] = 0
    return Sums(
        clusters=rows,
        cluster=np.arange(rows),
        kind=kinds,
        rerouted=generator.random(rows) < 0.5,
        requests=generator.integers(1, 9, rows).astype(float),
        usd=amounts[0],
        input=amounts[1],
        priced=amounts[2],
        source_usd=amounts[3],
        source_input=amounts[4],
    )


def known(live: Sums, window: Sums) -> Sums:
    """`live` with -1 for the kinds that the window has none of."""
    return replace(live, kind=np.where(np.isin(live.kind, window.kind), live.kind, -1))


def steps(window: Sums, live: Sums, rates: InputRates, days: tuple[float, float]) -> list[float]:
    """The cost a day after each part, from docs/method.md in plain loops."""

    def total(side: Sums, name: str, kind: int, rerouted: bool) -> float:
        rows = zip(side.kind, side.rerouted, getattr(side, name), strict=True)
        return float(sum(x for k, r, x in rows if k == kind and r == rerouted))

    requests = float(window.requests.sum())
    mean = float(window.usd.sum()) / requests
    came = float(live.requests[live.kind >= 0].sum())
    result = np.zeros(8)
    result[0] = window.usd.sum() / days[0]
    result[1] = came * mean / days[1]
    for k in range(KINDS):
        n_sent, n_left = (total(window, "requests", k, flag) for flag in (True, False))
        if not n_sent + n_left:
            continue
        m_sent, m_left = (total(live, "requests", k, flag) for flag in (True, False))
        of = {flag: total(window, "usd", k, flag) for flag in (True, False)}
        result[2] += (m_sent + m_left) * (of[True] + of[False]) / (n_sent + n_left) / days[1]
        sent_mean = of[True] / n_sent if n_sent else 0.0
        left_mean = of[False] / n_left if n_left else 0.0
        source = total(window, "source_usd", k, True) / n_sent if n_sent else left_mean
        as_left = n_left / (n_sent + n_left) * (m_sent + m_left) if n_sent else m_left
        beyond = m_left - as_left
        left = as_left * left_mean + beyond * source
        sent = m_sent * sent_mean if n_sent else total(live, "priced", k, True)
        result[3] += (sent + left) / days[1]
        sent_input = total(window, "input", k, True) / n_sent if n_sent else 0.0
        left_input = total(window, "input", k, False) / n_left if n_left else 0.0
        source_input = total(window, "source_input", k, True) / n_sent if n_sent else left_input
        longer_sent = total(live, "input", k, True) - m_sent * sent_input if n_sent else 0.0
        longer_left = total(live, "input", k, False) - as_left * left_input - beyond * source_input
        sent += rates.rerouted[k] * longer_sent
        left += rates.others[k] * longer_left
        result[4] += (sent + left) / days[1]
        priced_sent, priced_left = (total(live, "priced", k, flag) for flag in (True, False))
        result[5] += (priced_sent + left) / days[1]
        result[6] += (priced_sent + priced_left) / days[1]
        result[7] += (total(live, "usd", k, True) + total(live, "usd", k, False)) / days[1]
    return [*result.tolist(), float(live.usd.sum()) / days[1]]


def rates(seed: int) -> InputRates:
    draw = np.random.default_rng(seed)
    rerouted, others, source = draw.integers(0, 5, (3, KINDS)) * 0.1
    return InputRates(rerouted, others, source)


@settings(max_examples=30)
@given(sums(live=False), sums(live=True), st.integers(0, 99), st.booleans())
def test_parts_are_steps_that_add_up_exactly(
    window: Sums, live: Sums, seed: int, fixed: bool
) -> None:
    live, own, days = known(live, window), rates(seed), (7.0, 2.5)
    comparison = compare_sums(window, live, own, days, fixed_clusters=fixed)
    parts = comparison.parts()
    expected = steps(window, live, own, days)
    size = max(map(abs, expected))
    assert list(parts.values()) == pytest.approx(np.diff(expected).tolist(), abs=1e-9 * size)
    assert tuple(parts) == PARTS
    total = sum(parts.values())
    assert total == sum(reversed(parts.values())) == sum(sorted(parts.values()))
    assert total == pytest.approx(expected[-1] - expected[0], rel=1e-12, abs=1e-14 * size)
    assert all(estimate.variance >= 0 for estimate in comparison.estimates.values())


@settings(max_examples=30)
@given(sums(live=False), st.integers(0, 99))
def test_a_window_equals_itself(window: Sums, seed: int) -> None:
    same = replace(window, priced=window.usd)
    comparison = compare_sums(window, same, rates(seed), (3.0, 3.0), fixed_clusters=True)
    size = float(window.usd.sum())
    assert list(comparison.parts().values()) == pytest.approx([0.0] * len(PARTS), abs=1e-9 * size)


def perturbed(window: Sums, row: int, by: float) -> Sums:
    """The window with one of its rows counted a little more."""
    names = ("requests", "usd", "input", "source_usd", "source_input")
    more = {name: getattr(window, name).copy() for name in names}
    for column in more.values():
        column[row] *= 1 + by
    return replace(window, **more)


@settings(max_examples=10)
@given(sums(live=False, any_size=False), sums(live=True, any_size=False), st.integers(0, 99))
def test_errors_of_the_window_are_derivatives(window: Sums, live: Sums, seed: int) -> None:
    """A part's variance of the window is the sum of squared derivatives by its rows."""
    live, own, days, step = known(live, window), rates(seed), (7.0, 2.5), 1e-4

    def values(row: int, by: float) -> np.ndarray[Any, Any]:
        changed = perturbed(window, row, by)
        comparison = compare_sums(changed, live, own, days, fixed_clusters=False)
        return np.array([estimate.value for estimate in comparison.estimates.values()])

    n = window.clusters
    slopes = [(values(row, step) - values(row, -step)) / (2 * step) for row in range(n)]
    squares = (np.array(slopes) ** 2).sum(axis=0) * (n / (n - 1) if n > 1 else 0)
    exact = compare_sums(window, live, own, days, fixed_clusters=False).estimates
    for (name, estimate), square in zip(exact.items(), squares, strict=True):
        if name != "savings":  # the ratio of tokens on both models is taken as known
            assert estimate.window == pytest.approx(square, rel=1e-3, abs=1e-6 * max(squares)), name
