"""A plan held against what happened, and the record of all of them, told to a person: text in 80 columns, and escaped HTML."""

from __future__ import annotations

from collections.abc import Iterator

from ttplan.display.amounts import NO_INTERVAL, usd, usd_interval
from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.model.plan import Interval
from ttplan.model.results.reconciliation import Figure, FigureName, Reconciliation, TrackRecord

_LEFT = 'style="text-align:left"'
NAMES: dict[FigureName, str] = {
    "cost_per_request_usd": "cost a request",
    "cost_per_day_usd": "cost a day",
    "cache_hit_rate": "cache hits",
    "p50_latency_ms": "latency p50",
    "p95_latency_ms": "latency p95",
}
_WHY = (
    "“Expected” is what the plan projected for each kind of request, for the requests that came. An interval is about what such "
    "traffic does on average: a figure is “near” where it lies outside, and inside once its own interval is counted, too."
)


class ShownReconciliation:
    """A reconciliation that shows itself."""

    def __init__(self, found: Reconciliation) -> None:
        self.found = found

    def __repr__(self) -> str:
        return reconciliation_text(self.found)

    def _repr_html_(self) -> str:
        return reconciliation_html(self.found)


class ShownTrackRecord:
    """A track record that shows itself."""

    def __init__(self, found: TrackRecord) -> None:
        self.found = found

    def __repr__(self) -> str:
        return "\n".join(line for text in _record(self.found) for line in wrap(text, WIDTH))

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in _record(self.found))
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="track record" '
            f'style="overflow-wrap:anywhere"><p>{lines}</p></div>'
        )


def reconciliation_text(found: Reconciliation) -> str:
    """What was found, as text."""
    lines = [
        *wrap(_title(found), WIDTH),
        f"plan {found.plan_id}",
        *wrap(_counted(found), WIDTH),
        "",
    ]
    for figure in found.figures:
        expected, actual = (
            _shown(figure, figure.expected, figure.expected_95),
            _shown(figure, figure.actual, figure.actual_95),
        )
        lines.append(f"  {NAMES[figure.name]:<16}{_verdict(figure)}")
        lines += [f"      expected  {expected}", f"      actual    {actual}"]
    lines += ["", *wrap(_change(found), WIDTH)]
    for caveat in found.caveats:
        lines += wrap(plain(caveat), WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join([*lines, "", *wrap(_WHY, WIDTH)])


def reconciliation_html(found: Reconciliation) -> str:
    """What was found, as HTML in the notebook's own colours."""
    rows = "".join(
        f'<tr><th scope="row" {_LEFT}>{NAMES[figure.name]}</th>'
        f"<td {_LEFT}>{_shown(figure, figure.projected, figure.projected_95)}</td>"
        f"<td {_LEFT}>{_shown(figure, figure.expected, figure.expected_95)}</td>"
        f"<td {_LEFT}>{_shown(figure, figure.actual, figure.actual_95)}</td><td>{_verdict(figure)}</td></tr>"
        for figure in found.figures
    )
    caveats = "".join(f"<li>{escape(caveat)}</li>" for caveat in found.caveats)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="reconciliation" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(_title(found))}</strong><br><code>{found.plan_id}</code><br>"
        f"{escape(_counted(found))}</p>"
        f'<table style="margin:0.5em 0"><thead><tr><th></th><th {_LEFT}>projected</th><th {_LEFT}>expected</th>'
        f"<th {_LEFT}>actual</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p style='margin:0'>{escape(_change(found))}</p>{f'<ul>{caveats}</ul>' if caveats else ''}"
        f"<p style='margin:0'>{escape(_WHY)}</p></div>"
    )


def _title(found: Reconciliation) -> str:
    figure = found.of("cost_per_request_usd")
    verdict = {
        None: "no interval to hold it against",
        True: "the cost is as projected",
        False: "the cost is not as projected",
    }
    return f"{plain(found.plan_name)}: {verdict[figure.consistent]}"


def _counted(found: Reconciliation) -> str:
    unit = "" if found.interval_unit == "request" else f", by {found.interval_unit}"
    return (
        f"{found.requests:,} requests from {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M}, held against "
        f"{found.projected_requests:,}{unit}"
    )


def _verdict(figure: Figure) -> str:
    if figure.inside is None:
        return NO_INTERVAL
    return "inside" if figure.inside else "near" if figure.consistent else "OUTSIDE"


def _shown(figure: Figure, value: float, ends: Interval | None) -> str:
    """A value with its interval and unit."""
    if figure.name.endswith("_usd"):
        return f"{usd(value)} ({usd_interval(ends)})"
    factor, digits, unit = (100, 1, "%") if figure.name == "cache_hit_rate" else (1, 0, "ms")
    if ends is None:
        return f"{value * factor:,.{digits}f} {unit} ({NO_INTERVAL})"
    return f"{value * factor:,.{digits}f} {unit} ({ends[0] * factor:,.{digits}f} to {ends[1] * factor:,.{digits}f} {unit})"


def _change(found: Reconciliation) -> str:
    parts = {
        "more or fewer requests": found.change.volume,
        "requests of other kinds": found.change.mix,
        "the plan's error": found.change.rate,
        "kinds it knew nothing of": found.change.new,
    }
    said = ", ".join(f"{name} {_signed(amount)}" for name, amount in parts.items())
    return f"actual minus projected, a day: {_signed(found.change.total)}; of it {said}"


def _signed(amount: float) -> str:
    return f"{'+' if amount > 0 else ''}{usd(amount)}"


def _record(found: TrackRecord) -> Iterator[str]:
    if not found.plans:
        yield "no plan was reconciled yet: do it with `ttplan reconcile`, once requests since its apply are imported"
        return
    yield f"track record: {found.plans:,} {'plan' if found.plans == 1 else 'plans'} reconciled, by cost per request"
    if found.inside_pct_95 is not None:
        low, high = found.inside_pct_95
        yield (
            f"the 95 % interval held in {found.inside:,} of {found.judged:,} ({low:,.0f} to {high:,.0f} %); counting the actual "
            f"figure's own interval, in {found.consistent:,}"
        )
    if found.median_error_pct is not None and found.bias_pct is not None:
        worst = max(found.errors_pct, key=abs)
        yield (
            f"median error {found.median_error_pct:.1f} %, largest {worst:+.1f} %; bias {found.bias_pct:+.1f} % "
            f"({'dearer' if found.bias_pct > 0 else 'cheaper'} than expected)"
        )
