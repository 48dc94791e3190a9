"""Cards that compare a plan with what happened, and the track record of all plans."""

from __future__ import annotations

from collections.abc import Iterator

from ttplan.display.amounts import NO_INTERVAL, format_interval, plural, usd, usd_interval
from ttplan.display.card import Card, ResultCard, Table
from ttplan.model.plan import Interval
from ttplan.model.results.reconciliation import (
    FigureName,
    PartName,
    PlanError,
    RealisedSavings,
    ReconciledFigure,
    Reconciliation,
    TrackRecord,
)

FIGURE_NAMES: dict[FigureName, str] = {
    "cost_per_request_usd": "cost a request",
    "cost_per_day_usd": "cost a day",
    "cache_hit_rate": "cache hits",
    "p50_latency_ms": "latency p50",
    "p95_latency_ms": "latency p95",
}
PART_NAMES: dict[PartName, str] = {
    "volume": "number of requests",
    "mix": "kinds of requests",
    "routing": "rerouted or not",
    "prompts": "length of prompts",
    "rate": "rerouted requests",
    "others": "other models",
    "prices": "prices",
    "new": "new kinds",
}
_EXPLANATION = (
    "“Expected” is what the plan projected for each kind of request, applied to the requests that "
    "came. An interval is about the average of such traffic: a figure is “near” if it lies "
    "outside, but inside once its own interval is counted too."
)
_PARTS = (
    "“Rerouted or not” is another share of a kind than projected. “Rerouted requests” and “other "
    "models” are other tokens than expected, at the plan's prices; “prices” are what the same "
    "tokens cost. “New kinds” are requests of which the plan's window had none. The plan's error "
    "is “rerouted or not”, “rerouted requests”, and the prices of rerouted requests."
)
_TWO_INTERVALS = (
    "“At one look” is the 95 % interval for a single look. “At every look” is a confidence "
    "sequence: in 95 of 100 logs it holds at all looks, so the verdict comes from it."
)
_VERDICTS = {
    None: "no interval to compare it with",
    True: "the cost is as projected",
    False: "the cost is not as projected",
}


class ReconciliationCard(ResultCard[Reconciliation]):
    """A plan compared with what happened."""

    def card(self) -> Card:
        return reconciliation_card(self.result)


class TrackRecordCard(ResultCard[TrackRecord]):
    """How close the plans so far were."""

    def card(self) -> Card:
        title, *lines = _track_record(self.result)
        return Card("track record", title, lines=tuple(lines))


def reconciliation_card(reconciliation: Reconciliation) -> Card:
    """The card of a reconciliation."""
    rows = (row for figure in reconciliation.figures for row in _figure_rows(figure))
    columns = ("", "", "estimate", "95 % interval", "")
    figures = Table.of(rows, *columns, align="llr")
    savings, error = reconciliation.savings, reconciliation.error
    if savings is None or error is None:  # of version 0.1
        consistent = reconciliation.of("cost_per_request_usd").consistent
        return Card(
            "reconciliation",
            f"{reconciliation.plan_name}: {_VERDICTS[consistent]}",
            code=str(reconciliation.plan_id),
            lines=(_requests(reconciliation),),
            tables=(figures,),
            notes=reconciliation.caveats,
            footer=(_cost_change(reconciliation), _EXPLANATION),
        )
    return Card(
        "reconciliation",
        f"{reconciliation.plan_name}: {_saved(savings)}",
        code=str(reconciliation.plan_id),
        lines=(
            _verdict_line(reconciliation, error),
            *([_projected_savings(savings)] if savings.requests else []),
            _requests(reconciliation),
        ),
        tables=(_parts_table(reconciliation), figures),
        notes=reconciliation.caveats,
        footer=(_PARTS, _TWO_INTERVALS, _EXPLANATION),
    )


def _saved(savings: RealisedSavings) -> str:
    """The realised savings, with their interval for one look."""
    if not savings.requests:
        return "nothing was rerouted, so nothing was saved"
    verb = "saves" if savings.usd >= 0 else "COSTS"
    interval = savings.once_95
    if savings.usd < 0 and interval is not None:
        interval = -interval[1], -interval[0]
    return f"{verb} {usd(abs(savings.usd))} a day ({usd_interval(interval)})"


def _verdict_line(reconciliation: Reconciliation, error: PlanError) -> str:
    """Whether the plan's error is beyond chance, and its largest part."""
    if error.alarm is None:
        return "too few units to tell whether the costs are as projected"
    amount = f"{_signed(error.usd)} a day ({usd_interval(error.sequence_95)} at every look)"
    if not error.alarm:
        return f"costs are as projected: the plan's error is {amount}"
    change = reconciliation.change
    causes: dict[PartName, float] = {
        "routing": change.routing,
        "rate": change.rate,
        "prices": change.prices,
    }
    cause = max(causes, key=lambda name: abs(causes[name]))
    return (
        f"ALARM: costs are not as projected: the plan's error is {amount}, most of it "
        f"“{PART_NAMES[cause]}”"
    )


def _projected_savings(savings: RealisedSavings) -> str:
    return (
        f"{plural(savings.requests, 'request')} rerouted: {usd(savings.paid_usd)} a day instead of "
        f"{usd(savings.source_usd)} at their source; projected to save "
        f"{usd(savings.projected_usd)}; at every look {usd_interval(savings.sequence_95)}"
    )


def _parts_table(reconciliation: Reconciliation) -> Table:
    """The causes of the difference, in their order, with both intervals."""
    change = reconciliation.change
    rows = [
        (
            PART_NAMES[part.name],
            _signed(getattr(change, part.name)).removesuffix(" USD"),
            usd_interval(part.once_95).removesuffix(" USD"),
            usd_interval(part.sequence_95).removesuffix(" USD"),
        )
        for part in reconciliation.intervals
    ]
    return Table.of(
        [*rows, ("actual − projected", _signed(change.total).removesuffix(" USD"), "", "")],
        "USD a day",
        "estimate",
        "95 % at one look",
        "95 % at every look",
        align="lr",
    )


def _requests(reconciliation: Reconciliation) -> str:
    unit = (
        "" if reconciliation.interval_unit == "request" else f", by {reconciliation.interval_unit}"
    )
    return (
        f"{reconciliation.requests:,} requests from {reconciliation.since:%Y-%m-%d %H:%M} to "
        f"{reconciliation.until:%Y-%m-%d %H:%M}, compared with "
        f"{reconciliation.projected_requests:,}{unit}"
    )


def _figure_rows(figure: ReconciledFigure) -> Iterator[tuple[str, ...]]:
    """Projected, expected and actual value of a figure; the verdict stands beside the actual
    one."""
    values = {
        "projected": (figure.projected, figure.projected_95),
        "expected": (figure.expected, figure.expected_95),
        "actual": (figure.actual, figure.actual_95),
    }
    for what, (value, interval) in values.items():
        name = FIGURE_NAMES[figure.name] if what == "projected" else ""
        verdict = _verdict(figure) if what == "actual" else ""
        yield name, what, *_value(figure, value, interval), verdict


def _verdict(figure: ReconciledFigure) -> str:
    if figure.inside is None:
        return NO_INTERVAL
    return "inside" if figure.inside else "near" if figure.consistent else "OUTSIDE"


def _value(figure: ReconciledFigure, value: float, interval: Interval | None) -> tuple[str, str]:
    """A value and its interval, with their unit."""
    if figure.name.endswith("_usd"):
        return usd(value), usd_interval(interval)
    factor, digits, unit = (100, 1, "%") if figure.name == "cache_hit_rate" else (1, 0, "ms")
    shown = f"{value * factor:,.{digits}f} {unit}"
    return shown, format_interval(interval, digits, unit, factor=factor)


def _cost_change(reconciliation: Reconciliation) -> str:
    """The causes of the difference as version 0.1 had them."""
    change = reconciliation.change
    parts = {
        "more or fewer requests": change.volume,
        "requests of other kinds": change.mix,
        "requests that cost more or less than projected": change.rate,
        "kinds that the plan's window did not have": change.new,
    }
    causes = ", ".join(f"{name} {_signed(amount)}" for name, amount in parts.items())
    return f"actual minus projected, a day: {_signed(change.total)}, of which: {causes}"


def _signed(amount: float) -> str:
    return f"{'+' if amount > 0 else ''}{usd(amount)}"


def _track_record(record: TrackRecord) -> Iterator[str]:
    if not record.plans:
        yield (
            "no plan was reconciled yet: reconcile an applied plan once requests since then are "
            "imported"
        )
        return
    yield f"track record: {plural(record.plans, 'plan')} reconciled, by the error of each"
    if record.inside_pct_95 is not None:
        low, high = record.inside_pct_95
        yield (
            f"the 95 % interval held in {record.inside:,} of {record.judged:,} "
            f"({low:,.0f} to {high:,.0f} %); counting the uncertainty of what happened, in "
            f"{record.consistent:,}"
        )
    if record.median_error_pct is not None and record.bias_pct is not None:
        worst = max(record.errors_pct, key=abs)
        yield (
            f"median error {record.median_error_pct:.1f} %, largest {worst:+.1f} %; bias "
            f"{record.bias_pct:+.1f} % "
            f"({'more expensive' if record.bias_pct > 0 else 'cheaper'} than expected)"
        )
