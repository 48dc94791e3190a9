"""A plan told to a person: as text that fits 80 columns, and as HTML in which everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from ttplan.display.amounts import NO_INTERVAL, negated, usd, usd_interval
from ttplan.display.basis import costs, price_sources
from ttplan.display.text import WIDTH, cut, escape, left, wrap
from ttplan.model.plan import Interval, PerRouteBreakdown, PlanResult
from ttplan.model.plan_run import PlanRun, Status
from ttplan.model.results.quality import QualityResult, RiskBand, Verdict

_LEFT = 'style="text-align:left"'


class Plan:
    """A stored plan that shows itself as a card."""

    def __init__(self, run: PlanRun) -> None:
        self.run = run

    @property
    def plan_id(self) -> UUID:
        """The plan's id."""
        return self.run.plan_id

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.run.name

    @property
    def status(self) -> Status:
        """Where the plan was in its life when it was read."""
        return self.run.status

    @property
    def result(self) -> PlanResult:
        """What the replay found."""
        return self.run.result

    def quality_text(self) -> str:
        """What is known of the answers' quality, with its caveats and examples, as text."""
        return quality_text(self.run.result.quality)

    def __repr__(self) -> str:
        return plan_text(self.run)

    def _repr_html_(self) -> str:
        return plan_html(self.run)


class Line(NamedTuple):
    """One figure: what it is, its value with its unit, and its interval."""

    label: str
    value: str
    interval: str = ""


def plan_lines(result: PlanResult) -> list[Line]:
    """The figures of a plan, each with its unit and, where there is one, its 95 % interval."""
    found, ends = result.aggregates, result.confidence_intervals
    loses = found.projected_change_usd < 0
    headline = Line("costs more" if loses else "saves", usd(abs(found.projected_change_usd)), "")
    if loses:
        interval = negated(ends.projected_change_usd_95)
        share = (
            -found.projected_change_usd / found.total_baseline_cost_usd * 100
            if found.total_baseline_cost_usd
            else Decimal(0)
        )
        headline = headline._replace(interval=usd_interval(interval))
        percent = Line(
            "",
            f"{share:.1f} % of the baseline",
            _pct_interval(negated(ends.projected_change_pct_95)),
        )
    else:
        headline = headline._replace(interval=usd_interval(ends.savings_usd_95))
        percent = Line(
            "",
            f"{found.projected_savings_pct:.1f} % of the baseline",
            _pct_interval(ends.savings_pct_95),
        )
    today = found.change_vs_actual_usd
    hits = ends.cache_hit_rate_95 and (
        100 * ends.cache_hit_rate_95[0],
        100 * ends.cache_hit_rate_95[1],
    )
    return [
        headline,
        percent,
        Line(
            "against today",
            f"{usd(abs(today))} {'more' if today < 0 else 'less'} than was paid",
            usd_interval(
                negated(ends.change_vs_actual_usd_95) if today < 0 else ends.change_vs_actual_usd_95
            ),
        ),
        Line("baseline", usd(found.total_baseline_cost_usd)),
        Line("paid", usd(found.total_actual_cost_usd)),
        Line("projected", usd(found.total_projected_cost_usd)),
        Line("cache hits", f"{100 * found.cache_hit_rate_projected:.1f} %", _pct_interval(hits)),
        *_cache_levels(result),
        Line(
            "latency p50",
            _latency(found.p50_latency_ms_projected, found.p50_latency_ms_actual),
            _ms_interval(ends.p50_latency_ms_95),
        ),
        Line(
            "latency p95",
            _latency(found.p95_latency_ms_projected, found.p95_latency_ms_actual),
            _ms_interval(ends.p95_latency_ms_95),
        ),
        Line(
            "requests",
            f"{found.requests_rerouted:,} rerouted, {found.requests_unchanged:,} unchanged, "
            f"{found.requests_unprice_able:,} without a price",
        ),
        *_clusters(result),
        quality_line(result.quality),
    ]


def _latency(now: float, then: float | None) -> str:
    return f"{now:,.0f} ms" + ("" if then is None else f", {then:,.0f} ms as logged")


def _cache_levels(result: PlanResult) -> list[Line]:
    """Both levels and their overlap, where both count."""
    hits = result.cache_hits
    if hits is None or hits.l1 is None or hits.l2 is None:
        return []
    parts = (("L1", hits.l1), ("L2", hits.l2), ("both", hits.both))
    return [
        Line(
            "",
            ", ".join(
                f"{name} {100 * count / max(result.sample_size, 1):.1f} %" for name, count in parts
            ),
        )
    ]


def _clusters(result: PlanResult) -> list[Line]:
    if result.clusters is None:
        return []
    found = result.clusters
    worth = f"{cut(f'{found.count:,} by {result.interval_unit}', 20)}, worth {found.effective:,.0f}"
    return [Line("clusters", worth, f"the largest has {100 * found.largest_share:.1f} %")]


def quality_line(quality: QualityResult | None) -> Line:
    """What is known of the answers: the band with the share of degraded ones, and what the interval does not rule out."""
    if quality is None or quality.degraded_pct is None or quality.degraded_pct_95 is None:
        return Line("quality", f"{RiskBand.UNVERIFIED.shown}: no answers were compared")
    classified = quality.acceptable_count + quality.degraded_count
    value = (
        f"{quality.risk_band.shown} risk: {quality.degraded_pct:.1f} % of {classified:,} degraded"
    )
    upper = (
        ""
        if quality.risk_band_upper == quality.risk_band
        else f", up to {quality.risk_band_upper.shown}"
    )
    return Line("quality", value, _pct_interval(quality.degraded_pct_95) + upper)


def quality_text(quality: QualityResult | None) -> str:
    """A quality check told to a person; reasons are a judge's words."""
    line = quality_line(quality)
    lines = [f"quality       {line.value:<36}  {line.interval}".rstrip()]
    if quality is None:
        return lines[0]
    counts = (quality.acceptable_count, quality.degraded_count, quality.unclear_count)
    lines.append("judged        {:,} acceptable, {:,} degraded, {:,} unclear".format(*counts))
    lines.append(f"of            {quality.population:,} rerouted requests; {quality.drawn:,} drawn")
    lines.append(f"cost          {usd(quality.cost_usd)} of {usd(quality.budget_usd)}")
    if quality.forced is not None:
        forced = (
            quality.forced.acceptable_count,
            quality.forced.degraded_count,
            quality.forced.unclear_count,
        )
        lines.append(
            "besides       poisoning candidates: {:,} acceptable, {:,} degraded, {:,} unclear".format(
                *forced
            )
        )
    worse = [score for score in quality.sampled_examples if score.verdict == Verdict.DEGRADED]
    for score in worse[:MOST_EXAMPLES]:
        lines += wrap(
            f"{score.request_id}: {score.reason}",
            WIDTH - 2,
            initial_indent="  - ",
            subsequent_indent="    ",
        )
    for caveat in quality.caveats:
        lines += wrap(caveat, WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join(lines)


MOST_EXAMPLES = 5
"""How many degraded answers a text shows."""

CAUSES = {
    "already": "today's routing and caching",
    "routes": "these routes",
    "provider_cache": "the provider's cache",
    "l1_cache": "gateway cache, L1",
    "l2_cache": "gateway cache, L2",
}
"""What saves, in the order in which it is counted."""


def cause_lines(result: PlanResult) -> list[Line]:
    """What each cause saves, in order; nothing where it is all of one."""
    if result.savings_by_cause is None:
        return []
    parts = {CAUSES[name]: amount for name, amount in result.savings_by_cause if amount}
    return [Line(name, usd(amount)) for name, amount in parts.items()] if len(parts) > 1 else []


SWEEP = ("threshold", "hits", "also L1", "saves besides", "may be wrong")


def sweep_rows(result: PlanResult) -> list[tuple[str, ...]]:
    """The semantic cache at each threshold of the sweep, under `SWEEP`."""
    return [
        (
            f"{row.threshold:g}",
            f"{row.projected_l2_hits:,} ({row.projected_l2_hit_rate:.1%})",
            f"{row.also_l1_hits:,}",
            usd(row.saves_usd),
            f"{row.poisoning_candidates:,}",
        )
        for row in result.aggregates.l2_projections
    ]


def window(result: PlanResult) -> str:
    """The window that the figures are of."""
    return (
        f"{result.sample_size:,} requests, {result.window_start:%Y-%m-%d %H:%M} to {result.window_end:%Y-%m-%d %H:%M} UTC; "
        "money is USD in that window"
    )


def method(result: PlanResult) -> str:
    """How the intervals were made."""
    if result.interval_method == "none":
        return f"no intervals: too few clusters by {result.interval_unit}"
    return (
        f"95 % intervals by method {result.interval_method}, resampling by {result.interval_unit}"
    )


def failure(run: PlanRun) -> str:
    """Why a failed plan has no figures."""
    return f"The replay failed: {run.failure or 'nobody noted why'}. The plan has no figures, and can never be applied."


def plan_text(run: PlanRun) -> str:
    """The plan as text."""
    result, targets = run.result, _targets(run.result)
    if run.status == "failed":
        told = wrap(failure(run), WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
        return "\n".join(
            [f"{cut(run.name, WIDTH - 16)}  [{run.status}]", f"plan {run.plan_id}", "", *told]
        )
    lines = [
        f"{cut(run.name, WIDTH - 16)}  [{run.status}]",
        f"plan {run.plan_id}",
        *wrap(window(result), WIDTH),
        "",
    ]
    lines += [
        f"  {line.label:<14}{line.value:<36}{line.interval}".rstrip()
        for line in (*plan_lines(result), *_basis(run))
    ]
    if result.per_route_breakdown:
        lines += ["", f"  {'route':<36}{'requests':>10}{'baseline':>14}{'saves':>14}"]
        for part in result.per_route_breakdown:
            figures = f"{part.matched:>10,}{usd(part.baseline_cost_usd):>14}{usd(saved(part)):>14}"
            lines += [f"  {left(part.route_name, 35)} {figures}", *_to(targets.get(part.route_id))]
    if causes := cause_lines(result):
        lines += ["", "  saved by, in this order"]
        lines += [f"    {line.label:<34}{line.value:>14}" for line in causes]
    if rows := sweep_rows(result):
        lines += ["", "  semantic cache"]
        lines += [f"  {a:>10}{b:>19}{c:>11}{d:>20}{e:>16}" for a, b, c, d, e in (SWEEP, *rows)]
    if result.caveats:
        lines.append("")
        for caveat in result.caveats:
            lines += wrap(caveat, WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join([*lines, "", *wrap(method(result), WIDTH), *wrap(price_sources(run), WIDTH)])


def plan_html(run: PlanRun) -> str:
    """The plan as HTML, in the notebook's own colours."""
    result, targets = run.result, _targets(run.result)
    if run.status == "failed":
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="plan" style="overflow-wrap:anywhere">'
            f"<p style='margin:0'><strong>{escape(run.name)}</strong> [{escape(run.status)}]<br><code>{run.plan_id}</code></p>"
            f"<p>{escape(failure(run))}</p></div>"
        )
    figures = "".join(
        f'<tr><th scope="row" {_LEFT}>{escape(line.label)}</th><td {_LEFT}>{escape(line.value)}</td>'
        f"<td {_LEFT}>{escape(line.interval)}</td></tr>"
        for line in (*plan_lines(result), *_basis(run))
    )
    routes = "".join(
        f'<tr><th scope="row" {_LEFT}>{escape(part.route_name)}</th><td {_LEFT}>{escape(targets.get(part.route_id, ""))}</td>'
        f"<td>{part.matched:,}</td>"
        f"<td>{usd(part.baseline_cost_usd)}</td><td>{usd(saved(part))}</td></tr>"
        for part in result.per_route_breakdown
    )
    table = (
        f'<table style="margin:0.5em 0"><thead><tr><th {_LEFT}>route</th><th {_LEFT}>to</th><th>requests</th>'
        f"<th>baseline</th><th>saves</th></tr></thead><tbody>{routes}</tbody></table>"
        if routes
        else ""
    )
    causes = _html_table(
        "saved by, in this order",
        ("", "saves"),
        [(line.label, line.value) for line in cause_lines(result)],
    )
    sweep = _html_table("semantic cache", SWEEP, sweep_rows(result))
    caveats = "".join(f"<li>{escape(caveat)}</li>" for caveat in result.caveats)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="plan" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(run.name)}</strong> [{escape(run.status)}]<br><code>{run.plan_id}</code><br>"
        f"{escape(window(result))}</p>"
        '<table style="margin:0.5em 0"><thead><tr><th></th><th style="text-align:left">estimate</th>'
        f'<th style="text-align:left">95 % interval</th></tr></thead><tbody>{figures}</tbody></table>'
        f"{table}{causes}{sweep}{f'<ul>{caveats}</ul>' if caveats else ''}{_below(run)}</div>"
    )


def _basis(run: PlanRun) -> list[Line]:
    told = costs(run)
    return [] if told is None else [Line("costs", *told)]


def _below(run: PlanRun) -> str:
    lines = (method(run.result), price_sources(run))
    return f"<p style='margin:0'>{'<br>'.join(escape(line) for line in lines if line)}</p>"


def _html_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column heads its rows; nothing where there are no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f'<tr><th scope="row" {_LEFT}>{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<table style="margin:0.5em 0"><caption {_LEFT}>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _targets(result: PlanResult) -> dict[UUID, str]:
    """Where each route sends its requests."""
    return {route.id: route.then.target_model for route in result.proposed_routes}


def _to(target: str | None) -> list[str]:
    return [] if target is None else [f"    to {cut(target, WIDTH - 8)}"]


def saved(part: PerRouteBreakdown) -> Decimal:
    """What a route saves, USD; negative where it costs more, which its `savings_usd` would not show."""
    return part.baseline_cost_usd - part.projected_cost_usd


def _pct_interval(ends: Interval | None) -> str:
    return NO_INTERVAL if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f} %"


def _ms_interval(ends: Interval | None) -> str:
    return NO_INTERVAL if ends is None else f"{ends[0]:,.0f} to {ends[1]:,.0f} ms"
