"""The first lines of a full projection's card: what it saves, what it rests on, and what next."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.logs.test_reader import write
from tests.support import plans, universe
from tests.support.full_results import effect, result
from tests.views.test_views import opened
from ttplan.display.plan import Plan, plan_lines
from ttplan.display.plan.decision import rollout_size, sample_size
from ttplan.engine.replay import replay
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.model.projection.assumption import MEANINGS, Assumption, AssumptionEffect
from ttplan.model.projection.full import CacheFit, IneligibleRequests
from ttplan.model.results.parts import ChangeByCause

OUTPUT = effect("ratio_out", 1, slope_usd=-10.9, break_even=2.1)
REDO = effect("redo", 0, slope_usd=-20.0, break_even=0.6)
SCOPE = effect("price_factor", 1.2, source="log", slope_usd=-10.0, low_usd=8.2, high_usd=12.4)


def card(replayed: PlanResult, **changes: Any) -> str:
    return repr(Plan(plans.run(1, result=replayed, **changes)))


def lines(replayed: PlanResult, **changes: Any) -> list[str]:
    """The first lines of the card, unwrapped, without title, id and window."""
    return list(Plan(plans.run(1, result=replayed, **changes)).card().lines[:-1])


def test_the_first_line_is_the_change_against_what_is_paid() -> None:
    first = "saves 12.00 USD of the 24.69 USD paid (48.6 %); 95 % interval 10.00 to 14.00 USD"
    assert lines(result()) == [first]
    assert plan_lines(result())[0] == ("saves", "12.00 USD", "10.00 to 14.00 USD")
    assert plan_lines(result())[1][1:] == ("48.6 % of what was paid", "40.5 to 56.7 %")
    assert card(result()).count("12.00 USD") == 1


def test_a_loss_and_an_unclear_sign_are_said() -> None:
    loss = lines(result(savings="-3", interval=(-4.0, -2.0)))[0]
    assert loss.startswith("costs 3.00 USD more than the 24.69 USD paid (12.2 %)")
    assert loss.endswith("95 % interval 2.00 to 4.00 USD")
    assert lines(result(savings="1", interval=(-1.0, 3.0)))[0].endswith(": it may cost more")
    assert lines(result(savings="-1", interval=(-3.0, 1.0)))[0].endswith(": it may save")
    assert lines(result(interval=None))[0].endswith("(48.6 %); no interval")


def test_savings_at_other_prices_are_said_if_they_differ() -> None:
    replayed = result(other_prices="-1.5")
    costs = "costs 1.50 USD more; no interval"
    assert lines(replayed)[1] == f"at the prices of 2026-06-01: {costs}"
    at_plan = PlanConfig(projection="full", prices_at="plan")
    assert lines(replayed, config=at_plan)[1] == (
        f"that is at the prices of 2026-06-01; at those of each request's time: {costs}"
    )


def test_unknown_assumptions_are_named_with_their_break_even() -> None:
    small = effect("ratio_in", 1, slope_usd=-0.3, break_even=41.0)
    measured = effect("ratio_out", 1.6, source="judged", slope_usd=-9.0, effect_usd=-5.4)
    assert lines(result(REDO, OUTPUT, SCOPE, small, measured))[1:3] == [
        "3 things are not known: output length (breaks even at 2.1 times); answers asked again "
        "(breaks even at 60 %); factor between recorded and list prices (saves 8.20 USD if it "
        "applies to the target, 12.40 USD if not)",
        "1 other unknown changes the savings by less than 5 %",
    ]
    assert lines(result(small))[1] == "1 unknown changes the savings by less than 5 %"
    assert lines(result(measured)) == lines(result())


def test_models_are_named_if_there_are_several() -> None:
    other = REDO.model_copy(update={"target_model": "nano"})
    text = lines(result(REDO, other))[1]
    assert "answers asked again for mini (" in text
    assert "answers asked again for nano (" in text


@pytest.mark.parametrize(
    ("unknown", "text"),
    [
        (
            effect("price_factor", 0.8, source="log", low_usd=8, high_usd=12),
            "saves 8.00 USD if not, 12.00 USD if it applies to the target",
        ),
        (
            effect("rest", 1, slope_usd=-5.0, low_usd=-1, high_usd=4),
            "costs 1.00 USD more if it stays, saves 4.00 USD if it goes away with the old model",
        ),
        (
            effect("rest", 0, slope_usd=5.0, low_usd=4, high_usd=9),
            "saves 4.00 USD if it goes away with the old model, 9.00 USD if it stays",
        ),
        (
            effect("cache_fit", 1, low_usd=2, high_usd=13),
            "saves 2.00 USD if nothing is cached, 13.00 USD if all of it is",
        ),
        (
            effect("cache_breakpoints", 0, slope_usd=9.0, low_usd=-2, high_usd=7),
            "costs 2.00 USD more if nobody sets them, saves 7.00 USD if all clients do",
        ),
        (
            effect("cache_breakpoints", 0, slope_usd=-3.0, low_usd=4, high_usd=7),
            "saves 4.00 USD if all clients do, 7.00 USD if nobody sets them",
        ),
        (effect("redo", 0, slope_usd=-20.0), "saves at any value"),
    ],
)
def test_ends_are_shown_with_their_conditions(unknown: AssumptionEffect, text: str) -> None:
    assert f"({text})" in lines(result(unknown))[1]


def test_the_next_step_is_about_the_largest_unknown() -> None:
    assert lines(result(OUTPUT, REDO))[-1] == "next step: roll out 5 % for 6 days"
    assert lines(result(OUTPUT, REDO, has_answers=True))[-1] == (
        "next step: judge 60 answers, about 0.48 USD and the judge's own cost"
    )
    fixed = effect("rest", 1, slope_usd=-30.0, low_usd=-18, high_usd=12)
    assert "say in the plan file whether that cost stays" in lines(result(OUTPUT, fixed))[-1]
    nobody = effect("cache_fit", 1, low_usd=-18, high_usd=12)
    assert "import the log with a session column" in lines(result(OUTPUT, nobody))[-1]
    prompts = effect("ratio_in", 1, slope_usd=-90.0, break_even=1.1)
    assert "roll out" in lines(result(OUTPUT, prompts))[-1]
    assert not any("next step" in line for line in lines(result(prompts)))
    losing = result(OUTPUT, savings="-3", interval=(-4.0, -2.0))
    assert not any("next step" in line for line in lines(losing))


@pytest.mark.parametrize("answered", [True, False])
def test_answers_are_judged_only_if_they_are_recorded(tmp_path: Path, answered: bool) -> None:
    rows = [json.loads(row.model_dump_json()) for row in universe.log(300, seed=1)]
    if answered:
        rows[7] |= {"body": "[]", "response_body": "an answer"}
    ws = opened(tmp_path)
    ws.import_logs(write(tmp_path / "log.jsonl", rows), with_bodies=True, progress=False)
    plan = ws.plan(universe.plan(()).proposed_routes, name="p", progress=False)
    assert plan.result.full is not None
    assert plan.result.full.has_answers == answered
    assert ("next step: judge" in repr(plan)) == answered
    assert ("next step: roll out" in repr(plan)) != answered


def test_samples_and_rollouts_grow_with_what_is_at_stake() -> None:
    close = OUTPUT.model_copy(update={"slope_usd": -40.0})
    assert sample_size(OUTPUT, result()) < sample_size(close, result()) <= 500
    assert sample_size(REDO, result()) >= 50
    assert rollout_size(OUTPUT, result()) == (5, 6)
    few = OUTPUT.model_copy(update={"requests": 100})
    assert rollout_size(few, result()) == (50, 6)
    many = OUTPUT.model_copy(update={"requests": 100_000})
    assert rollout_size(many, result()) == (5, 1)


def test_the_card_has_tables_of_what_the_projection_made() -> None:
    measured = effect(
        "ratio_out",
        1.6,
        source="judged",
        standard_error=0.05,
        slope_usd=-9.0,
        effect_usd=-5.4,
        break_even=2.93,
    )
    text = card(
        result(
            measured,
            REDO,
            ineligible=(IneligibleRequests(reason="images", requests=12, cost_usd=Decimal(3)),),
            cache_fit=(CacheFit(model="large", recorded_tokens=900, predicted_tokens=1_000),),
            kept_cache_usd="-2",
        )
    )
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "output length 1.60 ± 0.05 times judged -5.40 USD 2.9 times" in rows
    assert "answers asked again 0 % not known not known 60 %" in rows
    assert "images 12 3.00 USD" in rows
    assert "large 900 tokens 1,000 tokens 90 %" in rows
    assert "12 not served, 7 failed exact" in rows
    assert any(row.startswith("requests that stay") and row.endswith("-2.00 USD") for row in rows)
    assert max(map(len, text.splitlines())) <= 80


def test_a_latency_of_nothing_known_is_not_0_ms() -> None:
    replayed = result()
    unknown = replayed.aggregates.model_copy(
        update={"p95_latency_ms_projected": 0.0, "p95_latency_ms_actual": 900.0}
    )
    intervals = replayed.confidence_intervals.model_copy(update={"p95_latency_ms_95": None})
    replayed = replayed.model_copy(
        update={"aggregates": unknown, "confidence_intervals": intervals}
    )
    assert "latency p95    not known, 900 ms as logged\n" in card(replayed)
    assert "latency p50    800 ms" in card(replayed)


def test_a_reference_card_begins_with_the_change_of_what_is_paid() -> None:
    text = card(plans.result(plans.ORG))
    assert "of what was paid" in text
    assert text.index("saves") < text.index("saved already") < text.index("vs baseline")
    assert "not known" not in text
    assert "next step" not in text


def test_the_card_of_a_replayed_plan_adds_up() -> None:
    config = PlanConfig(projection="full")
    given = (Assumption(name="ratio_out", value=1.6, standard_error=0.1),)
    replayed = replay(
        universe.plan(
            universe.log(600, seed=1),
            config=config,
            assumptions=given,
            bootstrap_iterations=100,
        )
    )
    text = card(replayed)
    assert replayed.full is not None
    part = replayed.full.pairs[0]
    saved = part.actual_usd - part.projected_usd + replayed.full.kept_cache_usd
    assert saved == replayed.aggregates.change_vs_actual_usd
    assert f"saves {saved:,.2f} USD of the" in text
    assert max(map(len, text.splitlines())) <= 80


def test_every_assumption_has_words() -> None:
    for name in MEANINGS:
        shown = effect(name, 1, slope_usd=-9.0, effect_usd=-9, source="user")
        assert name not in card(result(shown)).replace("redo", "")


def test_what_is_saved_already_has_a_line_of_its_own() -> None:
    idle = result(savings="0", interval=(0.0, 0.0))
    baseline = idle.aggregates.total_actual_cost_usd + Decimal("10.66")
    aggregates = idle.aggregates.model_copy(update={"total_baseline_cost_usd": baseline})
    for full in (idle.full, None):
        text = card(idle.model_copy(update={"aggregates": aggregates, "full": full}))
        assert "saved already by today's routing and caches, not counted above: 10.66 USD" in text
        assert re.search(r"saved already +10\.66 USD +exact", text)
        assert "saves 10.66" not in text


def test_the_causes_of_the_change_are_listed_with_intervals() -> None:
    causes = ChangeByCause(prices=13, tokens=-2, caches=1, fees=0, recorded=Decimal("1E-12"))
    replayed = result()
    ends = {"prices": (12.0, 14.0), "tokens": (-3.0, -1.0), "caches": (0.5, 1.5)}
    intervals = replayed.confidence_intervals.model_copy(update={"change_by_cause_95": ends})
    text = card(
        replayed.model_copy(update={"confidence_intervals": intervals, "change_by_cause": causes})
    )
    table = text.split("saved against what was paid by, in this order")[1]
    assert re.search(r"list prices +13\.00 USD +12\.00 to 14\.00 USD", table)
    assert re.search(r"number of tokens +-2\.00 USD +-3\.00 to -1\.00 USD", table)
    assert "fees" not in table
    assert "recorded" not in table
