"""Confidence sequences: intervals that hold at every look at a growing log at once.

An interval for one look covers the truth in 95 of 100 logs if each is looked at once. Whoever looks
every day finds it outside sooner or later. A confidence sequence covers the truth at *all* looks in
95 of 100 logs, so that it can be read at any time, and the first time that it excludes a value can
be an alarm.

The boundary is the Gaussian mixture (H. Robbins, *Statistical methods related to the law of the
iterated logarithm*, 1970) in the asymptotic form of I. Waudby-Smith, D. Arbour, R. Sinha,
E. H. Kennedy and A. Ramdas, *Time-uniform central limit theory and asymptotic confidence
sequences*, Annals of Statistics 52 (2024), theorem 2.2. For the mean of t clusters with standard
deviation s, and any rho > 0 that was fixed before the first look, it is

    s sqrt(2 (t rho^2 + 1) / (t^2 rho^2) log(sqrt(t rho^2 + 1) / alpha)).

With the variance of the estimate, v = s^2 / t, and that of the mixture, w = s^2 rho^2, this is

    sqrt(v (v + w) / w log((v + w) / (v alpha^2))),

which `sequence_radius` computes. In this form it also holds for the difference between a growing
mean and a fixed estimate that has an error of its own, such as a projection: for clusters Y_1, Y_2,
... with mean m, and an estimate P with mean m and variance u, the values Y_i - P have the
covariance s^2 I + u 1 1', whatever m is. The likelihood ratio of a shift drawn from N(0, w) against
none is a martingale, and exceeds 1 / alpha with probability alpha at most (J. Ville, 1939). It is
sqrt(v / (v + w)) exp(d^2 w / (2 v (v + w))) for a difference d of variance v = s^2 / t + u, and
solving for d gives the same radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import e, inf, log, sqrt
from statistics import NormalDist

from scipy.special import lambertw

from ttplan.model.plan import Interval

ALPHA = 0.05
"""How often an interval for one look, and a sequence at any look, may miss the truth."""


def sequence_radius(variance: float, mixture: float, alpha: float = ALPHA) -> float:
    """Half the width of the confidence sequence around an estimate with that variance.

    Parameters
    ----------
    variance : float
        The variance of the estimate at this look.
    mixture : float
        The variance of the mixture, above 0: the same at every look. See `mixture_for`.
    alpha : float
        How often the sequence may ever miss the truth.

    Returns
    -------
    float
        The radius, in the unit of the estimate. It is 0 if the variance is.

    Examples
    --------
    >>> round(sequence_radius(1.0, mixture_for(1.0)), 2)
    3.04
    """
    if variance <= 0:
        return 0.0
    if mixture <= 0:
        return inf
    total = variance + mixture
    return sqrt(variance * total / mixture * log(total / (variance * alpha**2)))


def mixture_for(variance: float, alpha: float = ALPHA) -> float:
    """The variance of the mixture with which the sequence is narrowest at the look at which the
    estimate has this variance.

    With v the variance and w that of the mixture, the radius is smallest where
    log(1 + w / v) - 2 log(alpha) = w / v, so w / v = -W(-alpha^2 / e) - 1 with the lower branch of
    Lambert's function (appendix B of the paper, for its rho^2 = w / s^2).

    Examples
    --------
    >>> round(mixture_for(1.0), 2)
    8.21
    """
    return variance * (-float(lambertw(-(alpha**2) / e, -1).real) - 1)


def narrowest_radius(variance: float, mixtures: Sequence[float], alpha: float = ALPHA) -> float:
    """Half the width of what several sequences have in common, each with its share of `alpha`.

    One mixture is narrow for some variances of the estimate and wide for others. The variance can
    grow with a change that it is to find, so one mixture for small changes and one for large ones
    are a little wider than the best of both, and never much.

    Examples
    --------
    >>> small, large = mixture_for(1.0, ALPHA / 2), mixture_for(100.0, ALPHA / 2)
    >>> round(narrowest_radius(1.0, [small, large]), 2)
    3.28
    >>> round(sequence_radius(400.0, small) / 20, 1), round(sequence_radius(400.0, large) / 20, 1)
    (16.1, 3.0)
    """
    return min(sequence_radius(variance, mixture, alpha / len(mixtures)) for mixture in mixtures)


def once_radius(variance: float, alpha: float = ALPHA) -> float:
    """Half the width of the interval for one look, around an estimate with that variance.

    Examples
    --------
    >>> round(once_radius(1.0), 2)
    1.96
    """
    return NormalDist().inv_cdf(1 - alpha / 2) * sqrt(max(variance, 0.0))


def around(value: float, radius: float) -> Interval:
    """The interval of that radius around a value.

    Examples
    --------
    >>> around(2.0, 0.5)
    (1.5, 2.5)
    """
    return value - radius, value + radius
