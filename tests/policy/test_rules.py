"""Rules and policy files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support import full_results, plans
from ttplan.model.errors import (
    InputError,
)
from ttplan.model.plan import Clusters, ConfidenceIntervals
from ttplan.model.policy import Approvals, Policy, Rule, RuleVerdict
from ttplan.model.projection.assumption import AssumptionEffect
from ttplan.model.projection.full import FullProjection, ProjectionInputs
from ttplan.model.results.parts import CacheHits
from ttplan.policy.rules import NUMERIC_FACTS, TEXT_FACTS, evaluate_rule, parse_rule, read_policy
from ttplan.quality.judge.accuracy import wilson_interval_pct
from ttplan.quality.result import unverified_result


def check_rule(text: str, **changes: Any) -> RuleVerdict:
    """Evaluate a rule on a plan whose result has these fields."""
    result = plans.result(UUID(int=1), (plans.route(1),)).model_copy(update=changes)
    return evaluate_rule(plans.run(1, result=result), Rule(rule=text))


@pytest.mark.parametrize(
    ("rule", "ok"),
    [
        ("savings > 12.3", True),
        ("savings > 12.35", False),
        ("Savings  >=  12", True),
        ("requests = 1234", True),
        ("requests < 1_234", False),
        ("requests <= 1234", True),
        ("requests rerouted > 999", True),
        ("no unpriced targets", True),
        ("no requests", False),
        ("routes = 1", True),
        ("latency p95 < 2_001", True),
        ("savings > -1", True),
    ],
)
def test_rules_over_numbers(rule: str, ok: bool) -> None:
    assert check_rule(rule).ok is ok


def test_ends_of_intervals() -> None:
    ends = ConfidenceIntervals(projected_change_usd_95=(0.5, 2.0), p95_latency_ms_95=(100.0, 900.0))
    assert check_rule("savings lower bound > 0.4", confidence_intervals=ends).ok
    assert not check_rule("savings lower bound > 0.5", confidence_intervals=ends).ok
    assert check_rule("latency p95 upper bound <= 900", confidence_intervals=ends).ok


def test_an_unknown_fact_meets_no_rule() -> None:
    no_intervals = ConfidenceIntervals()
    for rule in (
        "savings lower bound > 0",
        "savings lower bound < 0",
        "no effective clusters",
        "risk band not high",
    ):
        verdict = check_rule(rule, confidence_intervals=no_intervals)
        assert (verdict.ok, verdict.found.endswith(": not known")) == (False, True)


def test_words_and_clusters() -> None:
    checked = unverified_result("nobody looked")
    assert check_rule("risk band is unverified", quality=checked).ok
    assert not check_rule("risk band not unverified", quality=checked).ok
    assert check_rule("risk band is not high", quality=checked).ok
    assert check_rule("interval method is limit", interval_method="limit").ok
    few = Clusters(count=50, effective=39.5, largest_share=0.1)
    assert not check_rule("effective clusters >= 40", clusters=few).ok
    assert (
        check_rule("effective clusters >= 39.5", clusters=few).found == "effective clusters: 39.5"
    )


def test_requests_that_carry_the_savings() -> None:
    assert check_rule("carrying requests = 1000").ok
    hits = CacheHits(l1=1_100, l2=None, both=0, either=1_100)
    assert check_rule("carrying requests = 1100", cache_hits=hits).ok


def test_assumptions_that_nothing_supports() -> None:
    assert not check_rule("no assumptions without source").ok
    full = FullProjection(inputs=ProjectionInputs())
    redo = AssumptionEffect(name="redo", value=0.0, source="none")
    measured = AssumptionEffect(name="ratio_out", value=1.1, source="judged")
    assert check_rule("no assumptions without source", full=full, assumptions=(measured,)).ok
    verdict = check_rule("no assumptions without source", full=full, assumptions=(measured, redo))
    assert (verdict.ok, verdict.found) == (False, "assumptions without source: 1")


def test_a_band_that_is_not_known_meets_no_rule_on_it() -> None:
    def quality(good: int, bad: int, **changes: Any) -> dict[str, Any]:
        judged = unverified_result("").model_copy(
            update={
                "acceptable_count": good,
                "degraded_count": bad,
                "degraded_pct": 100 * bad / (good + bad),
                "degraded_pct_95": wilson_interval_pct(bad, good + bad),
            }
            | changes
        )
        return {"quality": judged}

    assert check_rule("risk band is low", **quality(100, 0)).ok
    low_or_medium = check_rule("risk band is low", **quality(50, 0))
    assert (low_or_medium.ok, low_or_medium.found) == (False, "risk band: low or medium")
    assert check_rule("risk band not high", **quality(50, 0)).ok
    assert not check_rule("risk band not high", **quality(10, 0)).ok
    assert check_rule("degraded pct upper bound < 8", **quality(50, 0)).ok
    assert check_rule("degraded share is uncorrected", **quality(50, 0)).ok
    corrected = quality(50, 0, corrected_pct=0.0, corrected_pct_95=(0.0, 4.0))
    assert check_rule("degraded share is corrected", **corrected).ok
    assert check_rule("risk band is low", **corrected).ok
    assert check_rule("degraded pct = 0", **corrected).ok


def test_every_fact_can_be_evaluated() -> None:
    run_ = plans.run(1, (plans.route(1),))
    for fact in NUMERIC_FACTS:
        assert evaluate_rule(run_, Rule(rule=f"{fact} >= 0")).found.startswith(f"{fact}: ")
    for fact in TEXT_FACTS:
        assert evaluate_rule(run_, Rule(rule=f"{fact} is limit")).found.startswith(f"{fact}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a rule"),
        ("savings", "is not a rule; expected something like 'savings lower bound > 0'"),
        ("savings > many", "is not a rule"),
        ("luck > 3", "names 'luck', which is unknown; expected one of savings, "),
        ("no luck", "names 'luck'"),
        ("savings is high", "expected one of risk band, "),
    ],
)
def test_malformed_rules_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rule(text)


def test_a_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "rules:\n  - rule: savings > 0\n  - rule: no caveats\n    level: advisory\n"
        "approvals:\n  needed: 2\n"
    )
    assert read_policy(path) == Policy(
        rules=(Rule(rule="savings > 0"), Rule(rule="no caveats", level="advisory")),
        approvals=Approvals(needed=2),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "expected a policy with the key rules"),
        ("rules:\n  - rule: luck > 1", r"p\.yaml: rule 1: 'luck > 1' names 'luck'"),
        ("rules:\n  - rule: savings > 1\n    level: hard", r"rules\[0\]\.level: .*found 'hard'"),
        ("rule: x", "rule: this key is not known"),
        ("approvals:\n  needed: 0", r"approvals\.needed: .*found 0"),
    ],
)
def test_malformed_policies_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_policy(path)


def test_savings_of_a_full_projection_are_against_what_was_paid() -> None:
    """A plan that moves nothing, in a log whose cache saves 10.66 USD already, saves nothing."""
    idle = full_results.result(savings="0", interval=(0.0, 0.0))
    aggregates = idle.aggregates.model_copy(
        update={"projected_change_usd": Decimal("10.66"), "projected_savings_pct": 39.9}
    )
    idle = idle.model_copy(update={"aggregates": aggregates})
    run = plans.run(1, result=idle)
    verdicts = {
        text: evaluate_rule(run, Rule(rule=text)).ok
        for text in ("savings > 0", "savings lower bound >= 0", "savings pct > 0")
    }
    assert verdicts == {
        "savings > 0": False,
        "savings lower bound >= 0": True,
        "savings pct > 0": False,
    }
    assert evaluate_rule(run, Rule(rule="less than baseline > 10")).ok
    reference = run.model_copy(update={"result": idle.model_copy(update={"full": None})})
    assert evaluate_rule(reference, Rule(rule="savings > 10")).ok
    lower = evaluate_rule(
        plans.run(1, result=full_results.result()), Rule(rule="savings pct lower bound > 40")
    )
    assert lower.ok
