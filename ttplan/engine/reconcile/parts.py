"""The difference between actual and projected cost by cause: parts that add up to it exactly.

The parts are taken in one fixed order. Each replaces one more thing of the plan's window by what
happened: how many requests came (`volume`), of which kinds (`mix`), how many of a kind were
rerouted (`routing`), how long their prompts were (`prompts`), what other tokens they had, at the
plan's prices (`rate` of the rerouted requests, `others` of the rest), and what was paid for the
tokens (`prices`). `new` are the kinds that the window has none of.

Each part is a sum over the requests that came, given means of the window. So its variance is that
of two independent sums over clusters: of the requests that came, and of the window's, by the
derivatives of the part (the delta method). Prices are taken as known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, log2

import numpy as np
import numpy.typing as npt

from ttplan.engine.dialects import Ints

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
PARTS = ("volume", "mix", "routing", "prompts", "rate", "others", "prices", "new")
"""The parts of the difference, in their order."""
PLAN, SAVINGS = "plan", "savings"
"""Two further sums with a variance: what the plan answers for, and what the rerouted saved."""
_NAMES = (*PARTS, PLAN, SAVINGS)
_BITS = 49


@dataclass(frozen=True)
class Sums:
    """Sums of some requests, one row for each cluster, kind, and whether they were rerouted.

    `kind` is a position below the number of kinds, or -1 if the window has no request of it. `usd`
    is the cost: projected in the plan's window, actual afterwards. `input` are the input tokens on
    the model that answers. `priced` is what the tokens cost at the plan's prices. `source_usd` and
    `source_input` are the cost and the input tokens on the model that answered in the window.
    """

    clusters: int
    cluster: Ints
    kind: Ints
    rerouted: Flags
    requests: Floats
    usd: Floats
    input: Floats
    priced: Floats
    source_usd: Floats
    source_input: Floats

    def total(self, name: str, kinds: int, rerouted: bool) -> Floats:
        """A sum by kind, of the requests that were or were not rerouted."""
        own = (self.rerouted == rerouted) & (self.kind >= 0)
        weights: Floats = getattr(self, name)[own]
        # Without a row, the weights do not count, and the sums are integers.
        return np.bincount(self.kind[own], weights, minlength=kinds).astype(np.float64)

    @property
    def effective(self) -> float:
        """The number of equal clusters that would be as good: by requests (L. Kish, 1965)."""
        sizes = np.bincount(self.cluster, self.requests, minlength=max(self.clusters, 1))
        squares = float((sizes * sizes).sum())
        return float(sizes.sum()) ** 2 / squares if squares else 0.0


@dataclass(frozen=True)
class InputRates:
    """What an input token costs at the plan's prices, by kind (USD): of the rerouted requests, of
    the others, and of the rerouted ones at their source."""

    rerouted: Floats
    others: Floats
    source: Floats


@dataclass(frozen=True)
class Estimate:
    """An amount (USD per day) and its variance: that of the window and that of what came."""

    value: float
    window: float
    live: float

    @property
    def variance(self) -> float:
        """The variance of the amount."""
        return self.window + self.live


@dataclass(frozen=True)
class Comparison:
    """The parts of the difference, what the plan answers for, and what was saved. USD per day.

    `rerouted` requests would have cost `source` at their source, and the plan projected that they
    would save `projected_savings`.
    """

    estimates: dict[str, Estimate]
    expected: float
    rerouted: int
    source: float
    projected_savings: float
    effective: float

    def parts(self) -> dict[str, float]:
        """The parts in their order."""
        return {name: self.estimates[name].value for name in PARTS}


def compare_sums(
    window: Sums,
    live: Sums,
    rates: InputRates,
    days: tuple[float, float],
    *,
    fixed_clusters: bool,
) -> Comparison:
    """The parts of actual minus projected cost; `days` are the lengths of the window and after.

    `fixed_clusters`: how many clusters there are is known beforehand, as of hours; otherwise their
    number is random, as that of sessions.
    """
    means = _Means(window, rates)
    totals = _Totals(live, means)
    on_live, on_window = _by_live_row(live, means), _by_window_row(window, means, totals)
    on_live = {name: values / days[1] for name, values in on_live.items()}
    on_window = {name: values / days[1] for name, values in on_window.items()}
    on_window["volume"] = on_window["volume"] - window.usd / days[0]
    start, end = float(window.usd.sum()) / days[0], float(live.usd.sum()) / days[1]
    values = {name: float(amounts.sum()) for name, amounts in on_live.items()}
    values["volume"] -= start
    values |= _additive(start, end, {name: values[name] for name in PARTS})
    estimates = {
        name: Estimate(
            values[name],
            _variance(on_window[name], window, fixed_clusters),
            _variance(on_live[name], live, fixed_clusters),
        )
        for name in _NAMES
    }
    sent = float(totals.sent[means.has_rerouted].sum())
    unknown = _source_variance(window, means) * sent / days[1] ** 2
    estimates[SAVINGS] = replace(estimates[SAVINGS], live=unknown)
    known = live.rerouted & (live.kind >= 0)
    known[known] = means.has_rerouted[live.kind[known]]
    paid = float(live.usd[known].sum()) / days[1]
    return Comparison(
        estimates=estimates,
        expected=float((totals.requests * means.cost).sum()) / days[1],
        rerouted=int(live.requests[known].sum()),
        source=paid + values[SAVINGS],
        projected_savings=totals.projected_savings(means) / days[1],
        effective=window.effective if fixed_clusters else min(window.effective, live.effective),
    )


def _additive(start: float, end: float, parts: dict[str, float]) -> dict[str, float]:
    """The parts on a grid on which their floating-point sum is exactly end minus start.

    What rounding leaves goes to the first part, so that one that is 0 stays 0.
    """
    later = list(parts.values())[:0:-1]
    steps = np.array([start, *(end - np.cumsum([0.0, *later]))[::-1]])
    largest = float(np.abs(steps).max())
    grid = 2.0 ** (floor(log2(largest)) - _BITS) if largest else 1.0
    differences = np.diff(np.round(steps / grid)) * grid
    return dict(zip(parts, differences.tolist(), strict=True))


def _variance(amounts: Floats, sums: Sums, fixed_clusters: bool) -> float:
    """The variance of a sum over clusters. If their number is random, too, each counts by its own
    size (a compound Poisson sum), otherwise by its distance from the mean."""
    n = sums.clusters
    if n < 2:
        return 0.0
    totals = np.bincount(sums.cluster, amounts, minlength=n)
    if fixed_clusters:
        totals = totals - totals.mean()
    return float((totals * totals).sum()) * n / (n - 1)


def _source_variance(window: Sums, m: _Means) -> float:
    """The variance of what a rerouted request costs at its source, given its kind and prompt.

    It is all that is not known of the savings of the requests that came, besides the means.
    """
    k, n = window.kind, window.requests
    left = window.source_usd - n * m.source_usd[k]
    left -= m.rates.source[k] * (window.source_input - n * m.source_input[k])
    count = float(m.sent_requests.sum())
    if not count:
        return 0.0
    return _variance(np.where(window.rerouted, left, 0.0), window, fixed_clusters=False) / count


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


class _Means:
    """Means of the window by kind: of a request's cost and its input tokens.

    `sent` and `left` are of requests that the plan reroutes or not, `source` of the former as they
    were. If a kind has none of one, the other stands for it. `share` is that of requests left.
    """

    def __init__(self, window: Sums, rates: InputRates) -> None:
        self.kinds = kinds = len(rates.others)
        self.rates = rates

        def total(name: str, rerouted: bool) -> Floats:
            return window.total(name, kinds, rerouted)

        self.sent_requests, self.left_requests = total("requests", True), total("requests", False)
        self.requests = self.sent_requests + self.left_requests
        self.has_rerouted, has_left = self.sent_requests > 0, self.left_requests > 0
        self.share = _ratio(self.left_requests, self.requests)
        self.sent_usd = _ratio(total("usd", True), self.sent_requests)
        self.sent_input = _ratio(total("input", True), self.sent_requests)
        left_usd = _ratio(total("usd", False), self.left_requests)
        left_input = _ratio(total("input", False), self.left_requests)
        source_usd = _ratio(total("source_usd", True), self.sent_requests)
        source_input = _ratio(total("source_input", True), self.sent_requests)
        self.source_usd = np.where(self.has_rerouted, source_usd, left_usd)
        self.source_input = np.where(self.has_rerouted, source_input, left_input)
        self.left_usd = np.where(has_left, left_usd, source_usd)
        self.left_input = np.where(has_left, left_input, source_input)
        self.cost = _ratio(total("usd", True) + total("usd", False), self.requests)
        self.overall = float(window.usd.sum()) / float(window.requests.sum())
        # What a request that is rerouted instead of left changes of the others' expectation.
        self.stay_usd = self.share * (self.left_usd - self.source_usd)
        self.stay_input = self.share * (self.left_input - self.source_input)
        self.source_rate = rates.source * _ratio(self.source_input, self.sent_input)


class _Totals:
    """Totals by kind of the requests that came."""

    def __init__(self, live: Sums, means: _Means) -> None:
        self.sent = live.total("requests", means.kinds, True)
        self.left = live.total("requests", means.kinds, False)
        self.requests = self.sent + self.left
        self.sent_input = live.total("input", means.kinds, True)
        self.beyond = np.where(means.has_rerouted, self.left - means.share * self.requests, 0.0)
        """Requests left beyond the projected share; below 0 if more were rerouted."""
        self.as_left = np.where(means.has_rerouted, means.share * self.requests, self.left)

    def projected_savings(self, means: _Means) -> float:
        """What the plan projected that the rerouted requests save. USD."""
        longer = self.sent_input - self.sent * means.sent_input
        saved = self.sent * (means.source_usd - means.sent_usd)
        saved += (means.source_rate - means.rates.rerouted) * longer
        return float(saved[means.has_rerouted].sum())


def _by_live_row(live: Sums, m: _Means) -> dict[str, Floats]:
    """The contribution of each row of what came to each part (USD)."""
    known = live.kind >= 0
    k = np.where(known, live.kind, 0)
    n, tokens, priced, usd = live.requests, live.input, live.priced, live.usd
    left = known & ~live.rerouted
    sent = known & live.rerouted & m.has_rerouted[k]
    unforeseen = known & live.rerouted & ~m.has_rerouted[k]
    stay, stay_tokens = n * m.stay_usd[k], n * m.stay_input[k]
    expected_left = n * m.source_usd[k] + stay
    longer_left = tokens - n * m.source_input[k] - stay_tokens
    prompts_sent = m.rates.rerouted[k] * (tokens - n * m.sent_input[k])
    prompts_left = m.rates.others[k] * longer_left
    aside = m.rates.others[k] * stay_tokens
    zero = np.zeros_like(n)

    def by_group(sent_: Floats, left_: Floats, unforeseen_: Floats = zero) -> Floats:
        return np.select([sent, left, unforeseen], [sent_, left_, unforeseen_], 0.0)

    contributions = {
        "volume": np.where(known, n * m.overall, 0.0),
        "mix": np.where(known, n * (m.cost[k] - m.overall), 0.0),
        "routing": by_group(
            n * (m.sent_usd[k] - m.cost[k]) + stay,
            expected_left - n * m.cost[k],
            priced - n * m.cost[k],
        ),
        "prompts": by_group(prompts_sent - aside, prompts_left),
        "rate": by_group(priced - n * m.sent_usd[k] - prompts_sent, zero),
        "others": by_group(aside - stay, priced - expected_left - prompts_left),
        "prices": np.where(known, usd - priced, 0.0),
        "new": np.where(known, 0.0, usd),
    }
    rerouted_prices = np.where(live.rerouted, contributions["prices"], 0.0)
    contributions[PLAN] = contributions["routing"] + contributions["rate"] + rerouted_prices
    contributions[SAVINGS] = np.where(
        sent,
        n * m.source_usd[k] + m.source_rate[k] * (tokens - n * m.sent_input[k]) - usd,
        0.0,
    )
    return contributions


def _by_window_row(window: Sums, m: _Means, totals: _Totals) -> dict[str, Floats]:
    """What the sampling of each row of the window adds to the error of each part (USD)."""
    k, sent, n = window.kind, window.rerouted, window.requests

    def error(amounts: Floats, mean: Floats, count: Floats) -> Floats:
        """By how much a row moves a mean."""
        return _ratio(amounts - n * mean[k], count[k])

    cost = error(window.usd, m.cost, m.requests)
    overall = (window.usd - n * m.overall) / float(n.sum())
    sent_usd = np.where(sent, error(window.usd, m.sent_usd, m.sent_requests), 0.0)
    sent_input = np.where(sent, error(window.input, m.sent_input, m.sent_requests), 0.0)
    source_usd = np.where(sent, error(window.source_usd, m.source_usd, m.sent_requests), 0.0)
    source_input = np.where(sent, error(window.source_input, m.source_input, m.sent_requests), 0.0)
    left_usd = np.where(sent, 0.0, error(window.usd, m.left_usd, m.left_requests))
    left_input = np.where(sent, 0.0, error(window.input, m.left_input, m.left_requests))
    share = _ratio(n * np.where(sent, -m.share[k], 1 - m.share[k]), m.requests[k])
    share = np.where(m.has_rerouted[k], share, 0.0)

    came, came_sent = totals.requests[k], np.where(m.has_rerouted, totals.sent, 0.0)[k]
    beyond, as_left = totals.beyond[k], totals.as_left[k]
    others_rate, rate = m.rates.others[k], m.rates.rerouted[k]
    gap_usd = came * (m.left_usd - m.source_usd)[k] * share
    gap_input = came * (m.left_input - m.source_input)[k] * share
    left = beyond * source_usd + as_left * left_usd + gap_usd
    left_tokens = beyond * source_input + as_left * left_input + gap_input
    parts = {
        "volume": float(totals.requests.sum()) * overall,
        "mix": came * cost - float(totals.requests.sum()) * overall,
        "routing": came_sent * sent_usd + left - came * cost,
        "prompts": -rate * came_sent * sent_input - others_rate * left_tokens,
        "rate": -came_sent * sent_usd + rate * came_sent * sent_input,
        "others": -left + others_rate * left_tokens,
        "prices": np.zeros_like(n),
        "new": np.zeros_like(n),
    }
    parts[PLAN] = parts["routing"] + parts["rate"]
    parts[SAVINGS] = came_sent * (source_usd - m.source_rate[k] * sent_input)
    return parts
