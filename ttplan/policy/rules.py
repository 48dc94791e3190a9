"""Rules as people write them, and whether a plan meets them.

`FACT > NUMBER` (also `>=`, `<`, `<=`, `=`), `no FACT`, `FACT is WORD`, `FACT not WORD`. A plan
without the fact, such as an interval that could not be computed, does not meet the rule.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

import blake3
from pydantic import ValidationError

from ttplan.audit.canonical import canonical_json
from ttplan.model.errors import InputError
from ttplan.model.plan import Interval, PlanResult, change_pct_95
from ttplan.model.policy import Policy, Rule, RuleVerdict
from ttplan.model.results.quality import QualityResult, RiskBand
from ttplan.model.stored_plan import StoredPlan
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import describe_validation_error, read_yaml

Fact = float | str | None
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}
_NUMBER_RULE = re.compile(
    r"(?P<fact>.+?)\s*(?P<sign>>=|<=|>|<|=)\s*(?P<number>-?\d[\d_]*(?:\.\d+)?)"
)
_NONE_RULE = re.compile(r"no (?P<fact>.+)")
_WORD_RULE = re.compile(r"(?P<fact>.+?) (?P<verb>is not|not|is) (?P<word>[a-z]+)")


def _low(interval: Interval | None) -> float | None:
    return None if interval is None else interval[0]


def _high(interval: Interval | None) -> float | None:
    return None if interval is None else interval[1]


class _Savings(NamedTuple):
    """What the facts about savings are of: USD per window and percent, each with its interval."""

    change: Decimal
    change_95: Interval | None
    pct: float
    pct_95: Interval | None


def _savings(result: PlanResult) -> _Savings:
    """The savings against what was paid; of a reference projection, against the baseline."""
    aggregates, intervals = result.aggregates, result.confidence_intervals
    if result.full is None:
        return _Savings(
            aggregates.projected_change_usd,
            intervals.projected_change_usd_95,
            aggregates.projected_savings_pct,
            intervals.projected_change_pct_95,
        )
    change, change_95 = aggregates.change_vs_actual_usd, intervals.change_vs_actual_usd_95
    paid = aggregates.total_actual_cost_usd
    return _Savings(
        change, change_95, float(change / paid * 100) if paid else 0.0, change_pct_95(result)
    )


def _carrying(result: PlanResult) -> int:
    """At least how many requests carry the savings: rerouted, or answered by a projected cache."""
    hits = 0 if result.cache_hits is None else result.cache_hits.either
    return max(result.aggregates.requests_rerouted, hits)


def _risk_bands(quality: QualityResult | None) -> str | None:
    """The bands that the judged answers do not rule out."""
    if quality is None:
        return None
    return " or ".join(band.value for band in quality.bands) or RiskBand.UNVERIFIED.value


def _correction(quality: QualityResult | None) -> str | None:
    """Whether the degraded share is corrected for the judge's errors."""
    if quality is None or quality.share_pct is None:
        return None
    return "corrected" if quality.is_corrected else "uncorrected"


NUMERIC_FACTS: dict[str, Callable[[StoredPlan], float | None]] = {
    "savings": lambda run: float(_savings(run.result).change),
    "savings lower bound": lambda run: _low(_savings(run.result).change_95),
    "savings pct": lambda run: _savings(run.result).pct,
    "savings pct lower bound": lambda run: _low(_savings(run.result).pct_95),
    "less than paid": lambda run: float(run.result.aggregates.change_vs_actual_usd),
    "less than paid lower bound": lambda run: _low(
        run.result.confidence_intervals.change_vs_actual_usd_95
    ),
    "less than baseline": lambda run: float(run.result.aggregates.projected_change_usd),
    "less than baseline lower bound": lambda run: _low(
        run.result.confidence_intervals.projected_change_usd_95
    ),
    "requests": lambda run: run.result.sample_size,
    "requests rerouted": lambda run: run.result.aggregates.requests_rerouted,
    "unpriced targets": lambda run: run.result.aggregates.requests_unprice_able,
    "effective clusters": lambda run: (
        None if run.result.clusters is None else run.result.clusters.effective
    ),
    "carrying requests": lambda run: _carrying(run.result),
    "assumptions without source": lambda run: (
        None
        if run.result.full is None
        else sum(assumption.source == "none" for assumption in run.result.assumptions)
    ),
    "latency p95": lambda run: run.result.aggregates.p95_latency_ms_projected,
    "latency p95 upper bound": lambda run: _high(run.result.confidence_intervals.p95_latency_ms_95),
    "degraded pct": lambda run: (
        None if run.result.quality is None else run.result.quality.share_pct
    ),
    "degraded pct upper bound": lambda run: (
        None if run.result.quality is None else _high(run.result.quality.interval_pct)
    ),
    "cache poisoning candidates": lambda run: run.result.aggregates.l2_poisoning_candidates,
    "caveats": lambda run: len(run.result.caveats),
    "routes": lambda run: len(run.result.proposed_routes),
}
"""Numbers that a rule can use: signed USD per window, percentages 0..100, latency in ms."""
TEXT_FACTS: dict[str, Callable[[StoredPlan], str | None]] = {
    "risk band": lambda run: _risk_bands(run.result.quality),
    "risk band upper": lambda run: (
        None if run.result.quality is None else run.result.quality.risk_band_upper.value
    ),
    "degraded share": lambda run: _correction(run.result.quality),
    "interval method": lambda run: run.result.interval_method,
}
"""Words that a rule can use. Of several possible ones, ` or ` is between them."""


def read_policy(path: PathLike) -> Policy:
    """Read a policy: `rules: [{rule, level}]` and optionally `approvals: {needed, …}`.

    Raises InputError that names file, rule and what was expected.
    """
    content = read_yaml(path, "a policy")
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a policy with the key rules")
    try:
        policy = Policy.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {describe_validation_error(error)}") from None
    for position, rule in enumerate(policy.rules, 1):
        try:
            parse_rule(rule.rule)
        except InputError as error:
            raise InputError(f"{path}: rule {position}: {error}") from None
    return policy


def policy_digest(policy: Policy) -> str:
    """Return the digest by which the chain refers to a policy (64 hex digits)."""
    return blake3.blake3(canonical_json(policy.model_dump(mode="json"))).hexdigest()


def evaluate_rule(run: StoredPlan, rule: Rule) -> RuleVerdict:
    """Check a plan against a rule. Raises InputError if the rule is malformed."""
    name, is_met = parse_rule(rule.rule)
    value = {**NUMERIC_FACTS, **TEXT_FACTS}[name](run)
    text = "not known" if value is None else value
    if isinstance(text, int | float):
        text = f"{text:,.6f}".rstrip("0").rstrip(".")
    return RuleVerdict(
        rule=rule.rule,
        level=rule.level,
        ok=value is not None and is_met(value),
        found=f"{name}: {text}",
    )


def parse_rule(text: str) -> tuple[str, Callable[[Fact], bool]]:
    """Return the fact that a rule names, and the condition on it. Raises InputError."""
    rule = " ".join(text.split()).lower()
    if match := _NUMBER_RULE.fullmatch(rule):
        compare, bound = _COMPARISONS[match["sign"]], float(match["number"])
        return _check_fact(
            match["fact"], NUMERIC_FACTS, text
        ), lambda value: isinstance(value, int | float) and compare(value, bound)
    if match := _NONE_RULE.fullmatch(rule):
        return _check_fact(match["fact"], NUMERIC_FACTS, text), lambda value: value == 0
    if match := _WORD_RULE.fullmatch(rule):
        word, is_equal = match["word"], match["verb"] == "is"
        return (
            _check_fact(match["fact"], TEXT_FACTS, text),
            lambda value: (
                str(value).split(" or ") == [word]
                if is_equal
                else word not in str(value).split(" or ")
            ),
        )
    raise InputError(
        f"{text!r:.80} is not a rule; expected something like 'savings lower bound > 0', "
        "'no unpriced targets', 'risk band not high'"
    )


def _check_fact(name: str, facts: Iterable[str], text: str) -> str:
    if name in facts:
        return name
    raise InputError(
        f"{text!r:.80} names {name!r:.40}, which is unknown; expected one of {', '.join(facts)}"
    )
