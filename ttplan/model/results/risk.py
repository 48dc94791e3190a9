"""Risk bands: what a share of degraded answers, or its interval, says in a word."""

from __future__ import annotations

from enum import StrEnum

LOW_RISK_MAX_PCT = 5.0
MEDIUM_RISK_MAX_PCT = 15.0
"""The inclusive upper ends of the risk bands, in percent degraded."""


class RiskBand(StrEnum):
    """LOW up to 5 % degraded, MEDIUM up to 15 %, HIGH above.

    UNKNOWN if the interval reaches into several bands; UNVERIFIED if nothing was judged.
    """

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNKNOWN = "unknown"
    UNVERIFIED = "unverified"

    @classmethod
    def of(cls, degraded_pct: float | None) -> RiskBand:
        """Return the band of a share in percent, 0 to 100; UNVERIFIED for None."""
        if degraded_pct is None:
            return cls.UNVERIFIED
        if degraded_pct <= LOW_RISK_MAX_PCT:
            return cls.LOW
        return cls.MEDIUM if degraded_pct <= MEDIUM_RISK_MAX_PCT else cls.HIGH

    @property
    def shown(self) -> str:
        """The name in capitals, for display."""
        return self.value.upper()


_BANDS = (RiskBand.LOW, RiskBand.MEDIUM, RiskBand.HIGH)


def possible_bands(
    interval_pct: tuple[float, float] | None, at_least: RiskBand | None = None
) -> tuple[RiskBand, ...]:
    """The bands that an interval reaches into, from `at_least` on; empty without an interval.

    Examples
    --------
    >>> from ttplan.model.results.risk import possible_bands
    >>> [band.value for band in possible_bands((2.0, 9.0))]
    ['low', 'medium']
    """
    if interval_pct is None:
        return ()
    low, high = (_BANDS.index(RiskBand.of(end)) for end in interval_pct)
    floor = 0 if at_least is None else _BANDS.index(at_least)
    return _BANDS[max(low, floor) : max(high, floor) + 1]


def band_of(bands: tuple[RiskBand, ...]) -> RiskBand:
    """The one band of `bands`; UNKNOWN if there are several, UNVERIFIED if there is none."""
    if not bands:
        return RiskBand.UNVERIFIED
    return bands[0] if len(bands) == 1 else RiskBand.UNKNOWN


def upper_band(bands: tuple[RiskBand, ...]) -> RiskBand:
    """The highest of `bands`; UNVERIFIED if there is none."""
    return bands[-1] if bands else RiskBand.UNVERIFIED
