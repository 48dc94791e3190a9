"""Confidence sequences against the formula of their paper, and against simulated looks."""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import pytest

from ttplan.engine.intervals.sequence import around, mixture_for, once_radius, sequence_radius


@pytest.mark.parametrize("clusters", [10, 200, 5_000])
@pytest.mark.parametrize("rho", [0.05, 0.3])
def test_the_radius_is_that_of_the_paper(clusters: int, rho: float) -> None:
    deviation, alpha, t = 2.5, 0.05, clusters
    paper = deviation * sqrt(
        2 * (t * rho**2 + 1) / (t**2 * rho**2) * log(sqrt(t * rho**2 + 1) / alpha)
    )
    own = sequence_radius(deviation**2 / t, deviation**2 * rho**2, alpha)
    assert own == pytest.approx(paper, rel=1e-12)


def test_the_mixture_makes_its_look_the_narrowest() -> None:
    best = sequence_radius(2.0, mixture_for(2.0))
    assert all(
        best < sequence_radius(2.0, mixture_for(2.0) * factor) for factor in (0.5, 0.9, 1.1, 2)
    )
    assert best > once_radius(2.0)


def test_the_edges_of_a_radius() -> None:
    assert sequence_radius(0.0, 1.0) == 0.0
    assert sequence_radius(1.0, 0.0) == inf
    assert once_radius(-1e-20) == 0.0
    assert around(1.0, 0.25) == (0.75, 1.25)


@pytest.mark.parametrize("baseline", [0.0, 0.1])
def test_a_sequence_holds_at_all_looks(baseline: float) -> None:
    """2,000 logs of 100 to 10,000 clusters, compared with a projection that errs, too."""
    draw = np.random.default_rng(1)
    looks = np.arange(100, 10_001, 100)
    steps = draw.standard_normal((2_000, len(looks))) * sqrt(100)
    fixed = draw.standard_normal(2_000) * baseline
    difference = np.cumsum(steps, axis=1) / looks - fixed[:, None]
    variances = [1 / n + baseline**2 for n in looks]
    mixture = mixture_for(variances[10])
    radii = np.array([sequence_radius(v, mixture) for v in variances])
    once = np.array([once_radius(v) for v in variances])
    missed = (np.abs(difference) > radii).any(axis=1).mean()
    assert missed <= 0.05
    assert (np.abs(difference) > once).any(axis=1).mean() > 2 * 0.05
