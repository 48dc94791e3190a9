"""Rules as people write them, and whether a plan meets them.

`FACT > NUMBER` (also `>=`, `<`, `<=`, `=`), `no FACT`, `FACT is WORD`, `FACT not WORD`. A fact that a plan does not have, such as
an interval that could not be had, meets no rule.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable

import blake3
from pydantic import ValidationError

from ttplan.audit.canonical import canonical_json
from ttplan.model.errors import InputError
from ttplan.model.plan import Interval
from ttplan.model.policy import Policy, Rule, RuleVerdict
from ttplan.model.stored_plan import StoredPlan
from ttplan.util.files import describe_validation_error, read_yaml

Fact = float | str | None
_COMPARES: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}
_COMPARISON = re.compile(
    r"(?P<fact>.+?)\s*(?P<sign>>=|<=|>|<|=)\s*(?P<number>-?\d[\d_]*(?:\.\d+)?)"
)
_NONE_OF = re.compile(r"no (?P<fact>.+)")
_WORD = re.compile(r"(?P<fact>.+?) (?P<how>is not|not|is) (?P<word>[a-z]+)")


def _low(ends: Interval | None) -> float | None:
    return None if ends is None else ends[0]


def _high(ends: Interval | None) -> float | None:
    return None if ends is None else ends[1]


NUMERIC_FACTS: dict[str, Callable[[StoredPlan], float | None]] = {
    "savings": lambda run: float(run.result.aggregates.projected_change_usd),
    "savings lower bound": lambda run: _low(
        run.result.confidence_intervals.projected_change_usd_95
    ),
    "savings pct": lambda run: run.result.aggregates.projected_savings_pct,
    "savings pct lower bound": lambda run: _low(
        run.result.confidence_intervals.projected_change_pct_95
    ),
    "less than paid": lambda run: float(run.result.aggregates.change_vs_actual_usd),
    "less than paid lower bound": lambda run: _low(
        run.result.confidence_intervals.change_vs_actual_usd_95
    ),
    "requests": lambda run: run.result.sample_size,
    "requests rerouted": lambda run: run.result.aggregates.requests_rerouted,
    "unpriced targets": lambda run: run.result.aggregates.requests_unprice_able,
    "effective clusters": lambda run: (
        None if run.result.clusters is None else run.result.clusters.effective
    ),
    "latency p95": lambda run: run.result.aggregates.p95_latency_ms_projected,
    "latency p95 upper bound": lambda run: _high(run.result.confidence_intervals.p95_latency_ms_95),
    "cache poisoning candidates": lambda run: run.result.aggregates.l2_poisoning_candidates,
    "caveats": lambda run: len(run.result.caveats),
    "routes": lambda run: len(run.result.proposed_routes),
}
"""What numbers a rule may speak of: money is USD per window, signed; a pct 0..100, latency ms."""
TEXT_FACTS: dict[str, Callable[[StoredPlan], str | None]] = {
    "risk band": lambda run: (
        None if run.result.quality is None else run.result.quality.risk_band.value
    ),
    "risk band upper": lambda run: (
        None if run.result.quality is None else run.result.quality.risk_band_upper.value
    ),
    "interval method": lambda run: run.result.interval_method,
}
"""What words a rule may speak of."""


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy: `rules: [{rule, level}]` and, if wanted, `approvals: {needed, other_than_author}`.

    Raises InputError naming file, rule and what was expected.
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
    """The digest of a policy (64 hex digits), which the chain names it by."""
    return blake3.blake3(canonical_json(policy.model_dump(mode="json"))).hexdigest()


def evaluate_rule(run: StoredPlan, rule: Rule) -> RuleVerdict:
    """Whether a plan meets a rule. Raises InputError for a rule that is none."""
    fact, holds = parse_rule(rule.rule)
    found = {**NUMERIC_FACTS, **TEXT_FACTS}[fact](run)
    said = (
        "not known"
        if found is None
        else found
        if isinstance(found, str)
        else f"{found:,.6f}".rstrip("0").rstrip(".")
    )
    return RuleVerdict(
        rule=rule.rule,
        level=rule.level,
        ok=found is not None and holds(found),
        found=f"{fact}: {said}",
    )


def parse_rule(text: str) -> tuple[str, Callable[[Fact], bool]]:
    """The fact that a rule speaks of, and what has to hold of it. Raises InputError where it is no rule."""
    plain = " ".join(text.split()).lower()
    compared = _COMPARISON.fullmatch(plain)
    if compared is not None:
        sign, bound = _COMPARES[compared["sign"]], float(compared["number"])
        return _known(
            compared["fact"], NUMERIC_FACTS, text
        ), lambda found: isinstance(found, int | float) and sign(found, bound)
    none_of = _NONE_OF.fullmatch(plain)
    if none_of is not None:
        return _known(none_of["fact"], NUMERIC_FACTS, text), lambda found: found == 0
    word = _WORD.fullmatch(plain)
    if word is not None:
        wanted, is_it = word["word"], word["how"] == "is"
        return _known(word["fact"], TEXT_FACTS, text), lambda found: (found == wanted) is is_it
    raise InputError(
        f"{text!r:.80} is no rule; expected something like 'savings lower bound > 0', 'no unpriced targets', 'risk band not high'"
    )


def _known(
    fact: str,
    facts: dict[str, Callable[[StoredPlan], float | None]]
    | dict[str, Callable[[StoredPlan], str | None]],
    text: str,
) -> str:
    if fact in facts:
        return fact
    raise InputError(
        f"{text!r:.80} speaks of {fact!r:.40}, which is not known; expected one of {', '.join(facts)}"
    )
