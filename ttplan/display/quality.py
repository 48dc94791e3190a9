"""What is known of the quality of a plan's answers, and how many answers to judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ttplan.display.amounts import format_interval, usd
from ttplan.display.card import Card, ResultCard, Table
from ttplan.display.render import card_text
from ttplan.display.text import cut
from ttplan.model.results.quality import (
    ForcedScores,
    QualityGroup,
    QualityResult,
    RiskBand,
    Verdict,
)
from ttplan.model.results.samples import SamplesNeeded, SamplesRow
from ttplan.model.results.verdicts import KnownAnswers

MOST_EXAMPLES = 5
"""How many degraded answers a quality text shows."""
MOST_GROUPS = 10
"""How many routes and tags a quality text shows."""
_MOST_NAMED = 2
"""How many routes and tags of unknown risk the card names."""
_MOST_BANDS = 2
"""If more bands are possible, nothing is said of the risk."""
Cells = tuple[str, str, str]
"""A label, a value, and its interval."""


def quality_lines(quality: QualityResult | None) -> list[Cells]:
    """The bands that the share's interval does not rule out, the share, whether it is corrected for
    the judge's errors, and the worst route or tag."""
    if quality is None or quality.degraded_pct is None:
        return [("quality", f"{RiskBand.UNVERIFIED.shown}: no answers were compared", "")]
    value, interval = _share(quality)
    if quality.share_pct is not None:
        value += ", corrected" if quality.is_corrected else ", uncorrected"
    lines = [("quality", value, interval)]
    worst = quality.worst
    if worst is not None and worst.share_pct is not None:
        share, interval = _share(worst)
        lines.append(("worst", f"{cut(_group_name(worst), 24)}: {share}", interval))
    unknown = [group for group in quality.groups if len(group.bands) > _MOST_BANDS]
    if unknown and RiskBand.HIGH not in quality.bands:
        lines.append(("not known", _names(unknown), ""))
    return lines


def _names(groups: Sequence[QualityGroup]) -> str:
    """Groups with too few answers, the largest first, and how many answers each has."""
    by_size = sorted(groups, key=lambda group: -group.classified_count)
    named = [
        f"{cut(_group_name(group), 24)} ({group.classified_count:,} answers)"
        for group in by_size[:_MOST_NAMED]
    ]
    more = len(groups) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def quality_text(quality: QualityResult | None) -> str:
    """A quality check as text, with the judge's reasons for degraded answers."""
    _, value, interval = quality_lines(quality)[0]
    title = f"quality: {value}" + (f", {interval}" if interval else "")
    if quality is None:
        return title
    rows = [
        *_judge_rows(quality),
        ("judged", _verdict_counts(quality)),
        ("of", f"{quality.population:,} rerouted requests; {quality.drawn:,} drawn"),
        ("cost", f"{usd(quality.cost_usd)} of {usd(quality.budget_usd)}"),
    ]
    if quality.forced is not None:
        rows.append(("besides", f"poisoning candidates: {_verdict_counts(quality.forced)}"))
    degraded = [score for score in quality.sampled_examples if score.verdict == Verdict.DEGRADED]
    examples = [f"{score.request_id}: {score.reason}" for score in degraded[:MOST_EXAMPLES]]
    notes = (*examples, *quality.caveats)
    tables = (Table.of(rows), _groups_table(quality), _hits_table(quality))
    return card_text(Card("quality", title, tables=tables, notes=notes))


class SamplesCard(ResultCard[SamplesNeeded]):
    """How many answers to judge, by true degraded share. `result` has the numbers."""

    def card(self) -> Card:
        """The numbers as a card."""
        return samples_card(self.result)


def samples_card(needed: SamplesNeeded) -> Card:
    """The card of the numbers of answers to judge."""
    limit, power = f"{100 * needed.max_degraded:g} %", f"{100 * needed.power:g} %"
    of_plan = f" for {needed.plan}" if needed.plan is not None else ""
    judge = (
        f"a judge that finds {100 * needed.sensitivity:.1f} % of the bad answers and accepts "
        f"{100 * needed.specificity:.1f} % of the good ones"
    )
    if needed.controls:
        judge += f", measured on {needed.controls:,} of each"
    rows = [
        (
            f"{100 * row.true_share:g} %",
            "no number" if row.answers is None else f"{row.answers:,}",
            *(() if needed.plan is None else (_cost(row),)),
        )
        for row in needed.rows
    ]
    costs = () if needed.plan is None else ("costs",)
    return Card(
        "answers to judge",
        f"answers to judge{of_plan}, to show that less than {limit} are degraded",
        lines=(f"with a probability of {power}, by {judge}",),
        tables=(Table.of(rows, "if truly degraded", "answers", *costs, align="rrr"),),
        notes=needed.notes,
    )


def _cost(row: SamplesRow) -> str:
    return "not known" if row.cost_usd is None else usd(row.cost_usd)


def _groups_table(quality: QualityResult) -> Table:
    """The routes and tags, the worst first."""
    groups = sorted(
        quality.groups, key=lambda group: group.interval_pct or (0.0, 0.0), reverse=True
    )
    rows = [(cut(_group_name(group), 24), *_share(group)) for group in groups[:MOST_GROUPS]]
    more = len(groups) - len(rows)
    caption = "by route and tag, the worst first" + (f"; {more:,} more are not shown" * (more > 0))
    return Table.of(rows, align="lll", caption=caption if rows else "")


def _hits_table(quality: QualityResult) -> Table:
    """The wrong hits of the semantic cache, by threshold."""
    rows = [
        (
            f"{at.threshold:g}",
            f"{at.hits:,}",
            f"{at.classified_count:,}",
            "not known" if at.share_pct is None else f"{at.share_pct:.1f} %",
            format_interval(at.interval_pct, 1, "%"),
        )
        for at in quality.cache_hits
    ]
    caption = "wrong hits of the semantic cache, "
    caption += "corrected" if any(at.is_corrected for at in quality.cache_hits) else "uncorrected"
    columns = ("threshold", "hits", "judged", "wrong", "95 % interval")
    return Table.of(rows, *columns, align="rrrrl", caption=caption if rows else "")


def _group_name(group: QualityGroup) -> str:
    return "without a tag" if group.name is None else f"{group.by} {group.name}"


def _judge_rows(quality: QualityResult) -> list[tuple[str, str]]:
    """The share of the verdicts, if another is shown, and how often the judge is right."""
    rows = []
    if quality.is_corrected and quality.degraded_pct is not None:
        interval = format_interval(quality.degraded_pct_95, 1, "%")
        rows.append(("uncorrected", f"{quality.degraded_pct:.1f} % degraded, {interval}"))
    accuracy = quality.judge_accuracy
    if accuracy is not None:
        sides = (
            _known_answers("finds", "bad", accuracy.sensitivity),
            _known_answers("accepts", "good", accuracy.specificity),
        )
        rows.append(("judge", "; ".join(filter(None, sides))))
    kinds = Counter(control.kind for control in quality.controls if control.is_bad)
    found = Counter(
        control.kind
        for control in quality.controls
        if control.is_bad and control.verdict == Verdict.DEGRADED
    )
    if kinds:
        counts = (f"{kind.replace('_', ' ')} {found[kind]} of {kinds[kind]}" for kind in kinds)
        rows.append(("bad answers", "found: " + ", ".join(sorted(counts))))
    return rows


def _known_answers(verb: str, what: str, known: KnownAnswers | None) -> str:
    if known is None:
        return ""
    source = {"labels": "labelled", "planted": "planted", "repeated": "repeated"}[known.source]
    return f"{verb} {known.correct:,} of {known.judged:,} {what} answers ({source})"


def _share(scores: QualityResult | QualityGroup) -> tuple[str, str]:
    """The bands and share of judged answers, and the interval."""
    interval = scores.interval_pct
    if interval is None:
        return RiskBand.UNVERIFIED.shown, ""
    if scores.share_pct is None:
        return "risk not known: the judge's verdicts tell nothing", ""
    value = f"{_bands(scores)}: {scores.share_pct:.1f} % of {scores.classified_count:,} degraded"
    return value, format_interval(interval, 1, "%")


def _bands(scores: QualityResult | QualityGroup) -> str:
    """What the answers do not rule out; not known if that is everything."""
    bands = scores.bands
    if len(bands) > _MOST_BANDS:
        return "risk not known"
    return " or ".join(band.shown for band in bands) + " risk"


def _verdict_counts(scores: QualityResult | ForcedScores) -> str:
    return (
        f"{scores.acceptable_count:,} acceptable, {scores.degraded_count:,} degraded, "
        f"{scores.unclear_count:,} unclear"
    )
