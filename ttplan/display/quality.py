"""What is known of the quality of a plan's answers: lines of its card, and a text of its own."""

from __future__ import annotations

from ttplan.display.amounts import format_interval, usd
from ttplan.display.card import Card, Table
from ttplan.display.render import card_text
from ttplan.display.text import cut
from ttplan.model.results.quality import (
    ForcedScores,
    QualityGroup,
    QualityResult,
    RiskBand,
    Verdict,
)

MOST_EXAMPLES = 5
"""How many degraded answers a quality text shows."""
MOST_GROUPS = 10
"""How many routes and tags a quality text shows."""
Cells = tuple[str, str, str]
"""A label, a value, and its interval."""


def quality_lines(quality: QualityResult | None) -> list[Cells]:
    """The risk band, the share of degraded answers, the highest band in its interval, and the
    worst route or tag."""
    if quality is None or quality.degraded_pct is None:
        return [("quality", f"{RiskBand.UNVERIFIED.shown}: no answers were compared", "")]
    lines = [("quality", *_share(quality))]
    worst = quality.worst
    if worst is not None:
        share, interval = _share(worst)
        lines.append(("worst", f"{cut(_group_name(worst), 24)}: {share}", interval))
    return lines


def quality_text(quality: QualityResult | None) -> str:
    """A quality check as text, with the judge's reasons for degraded answers."""
    _, value, interval = quality_lines(quality)[0]
    title = f"quality: {value}" + (f", {interval}" if interval else "")
    if quality is None:
        return title
    rows = [
        ("judged", _verdict_counts(quality)),
        ("of", f"{quality.population:,} rerouted requests; {quality.drawn:,} drawn"),
        ("cost", f"{usd(quality.cost_usd)} of {usd(quality.budget_usd)}"),
    ]
    if quality.forced is not None:
        rows.append(("besides", f"poisoning candidates: {_verdict_counts(quality.forced)}"))
    degraded = [score for score in quality.sampled_examples if score.verdict == Verdict.DEGRADED]
    examples = [f"{score.request_id}: {score.reason}" for score in degraded[:MOST_EXAMPLES]]
    notes = (*examples, *quality.caveats)
    tables = (Table.of(rows), _groups_table(quality))
    return card_text(Card("quality", title, tables=tables, notes=notes))


def _groups_table(quality: QualityResult) -> Table:
    """The routes and tags, the worst first."""
    groups = sorted(
        quality.groups, key=lambda group: group.degraded_pct_95 or (0.0, 0.0), reverse=True
    )
    rows = [(cut(_group_name(group), 24), *_share(group)) for group in groups[:MOST_GROUPS]]
    more = len(groups) - len(rows)
    caption = "by route and tag, the worst first" + (f"; {more:,} more are not shown" * (more > 0))
    return Table.of(rows, align="lll", caption=caption if rows else "")


def _group_name(group: QualityGroup) -> str:
    return "without a tag" if group.name is None else f"{group.by} {group.name}"


def _share(scores: QualityResult | QualityGroup) -> tuple[str, str]:
    """The band and share of judged answers, and the interval with the highest band in it."""
    if scores.degraded_pct is None or scores.degraded_pct_95 is None:
        return RiskBand.UNVERIFIED.shown, ""
    classified = scores.acceptable_count + scores.degraded_count
    value = f"{scores.risk_band.shown} risk: {scores.degraded_pct:.1f} % of {classified:,} degraded"
    differs = scores.risk_band_upper != scores.risk_band
    upper = f", up to {scores.risk_band_upper.shown}" if differs else ""
    return value, format_interval(scores.degraded_pct_95, 1, "%") + upper


def _verdict_counts(scores: QualityResult | ForcedScores) -> str:
    return (
        f"{scores.acceptable_count:,} acceptable, {scores.degraded_count:,} degraded, "
        f"{scores.unclear_count:,} unclear"
    )
