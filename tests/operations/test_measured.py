"""What applied plans measure of their target models, on logs with a known truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from tests.logs.test_reader import ROW, write
from tests.workspace.test_workspace import NOW, opened
from ttplan.model.plan import PlanConfig
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.results.quality import SampleScore, TokenUsage, Verdict
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.operations.plans.assumptions import with_measured
from ttplan.operations.plans.measured import rollout_assumptions
from ttplan.operations.plans.replay import ReplayOptions
from ttplan.operations.plans.stratified import Moments, compare
from ttplan.quality.result import RunRecord, summarise
from ttplan.quality.sampling import Sample

DAY = timedelta(days=1)
OTHER, SOURCE, TARGET = "gpt-4.1", "gpt-4o", "gpt-4o-mini"
PRICES = {f"openai:{TARGET}": ModelPricing(input_per_million=1, output_per_million=2)}
TAGS = ("chat", "mail", "code")
MEANS = {"chat": 200, "mail": 600, "code": 300}


def route(**changes: Any) -> ProposedRoute:
    fields: dict[str, Any] = {"model_in": (SOURCE,), **changes}
    then = RouteAction(target_model=TARGET, max_cost_usd=fields.pop("max_cost_usd", None))
    return ProposedRoute(
        id=UUID(int=1), name="big to mini", priority=1, when=RouteConditions(**fields), then=then
    )


def traffic(
    start: datetime,
    days: int,
    a_day: int = 300,
    *,
    seed: int,
    routed: bool = False,
    mail: float = 0.2,
    trend: float = 0.0,
    ratio: float = 1.5,
    thinks: int = 0,
    source_thinks: int = 0,
    elsewhere: float = 0.0,
    scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Requests of chat, mail and code; code stays on another model. Mail answers are longer.

    The target's answers have `ratio` times the visible output, and `thinks` reasoning tokens.
    `trend` is the relative growth of all answers over the time, `elsewhere` the share of chat and
    mail that the target answers anyway.
    """
    draw = np.random.default_rng(seed)
    rows = []
    count = days * a_day
    for n in range(count):
        tag = "code" if draw.random() < 0.3 else "mail" if draw.random() < mail else "chat"
        model = OTHER if tag == "code" else TARGET if routed else SOURCE
        if model == SOURCE and draw.random() < elsewhere:
            model = TARGET
        visible = scale * MEANS[tag] * (1 + trend * n / count) * draw.lognormal(-0.125, 0.5)
        reasoning = 0
        if model == TARGET:
            visible *= ratio
            reasoning = int(thinks * draw.lognormal(-0.125, 0.5))
        elif model == SOURCE:
            reasoning = int(source_thinks * draw.lognormal(-0.125, 0.5))
        known = {"reasoning_tokens": reasoning} if thinks or source_thinks else {}
        rows.append(
            ROW
            | {
                "id": str(UUID(int=int(draw.integers(1, 2**60)))),
                "ts": (start + timedelta(seconds=n * 86_400 / a_day)).isoformat(),
                "model": model,
                "input_tokens": int(draw.integers(300, 900)),
                "output_tokens": int(visible) + 1 + reasoning,
                "cached_tokens": 0,
                "cost_usd": 0.01,
                "baseline_cost_usd": 0.01,
                "tag": tag,
                **known,
            }
        )
    return rows


def begin(path: Path, before: dict[str, Any], of: ProposedRoute) -> None:
    """A store with the traffic of four days, and a plan that went live at NOW."""
    ws = opened(path, new_id=uuid4)
    rows = traffic(NOW - 4 * DAY, 4, seed=1, **before)
    ws.import_logs(write(path.with_suffix(".jsonl"), rows))
    ws.apply(ws.plan([of], name="cheaper", prices=PRICES))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("begun") / "s.duckdb"
    begin(path, {}, route())
    return path


@pytest.fixture
def measure(tmp_path: Path, template: Path) -> Callable[..., dict[str, Assumption]]:
    """What a plan measured that went live at NOW: options of the times before and after."""

    def measured(
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        of: ProposedRoute | None = None,
        rows: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> dict[str, Assumption]:
        path = tmp_path / f"{uuid4()}.duckdb"
        if before or of:
            begin(path, before or {}, of or route())
        else:
            shutil.copy(template, path)
        ws = opened(path, new_id=uuid4)
        new = traffic(NOW, 4, seed=2, routed=True, **(after or {}))
        ws.import_logs(write(tmp_path / "after.jsonl", list(map(rows, new))))
        with ws.store.read() as snapshot:
            org_id = snapshot.org_id()
            assert org_id is not None
            return {one.name: one for one in rollout_assumptions(snapshot, org_id)}

    return measured


Measure = Callable[..., dict[str, Assumption]]


def near(assumption: Assumption, truth: float, errors: float = 3) -> bool:
    assert assumption.value is not None
    assert assumption.standard_error is not None
    return abs(float(assumption.value) - truth) <= errors * assumption.standard_error


def test_a_rollout_measures_the_output_of_its_target(measure: Measure) -> None:
    found = measure()
    assert found.keys() == {"ratio_out"}
    ratio = found["ratio_out"]
    assert near(ratio, 1.5)
    assert 0.01 < (ratio.standard_error or 0) < 0.15
    assert (ratio.source_model, ratio.target_model, ratio.source) == (SOURCE, TARGET, "rollout")
    assert ratio.note.startswith("plan 'cheaper', ")


@pytest.mark.slow
def test_another_mix_of_tags_does_not_look_like_longer_answers(measure: Measure) -> None:
    ratio = measure(after={"mail": 0.6, "ratio": 1.0})["ratio_out"]
    assert near(ratio, 1.0)
    assert not near(ratio, 1.4)


def test_hidden_tokens_of_the_target_are_told_apart(measure: Measure) -> None:
    found = measure({}, {"thinks": 800})
    assert found.keys() == {"ratio_out", "reasoning_tokens"}
    assert near(found["ratio_out"], 1.5)
    assert near(found["reasoning_tokens"], 800)


@pytest.mark.slow
def test_a_thinking_source_gives_a_ratio_of_reasoning(measure: Measure) -> None:
    found = measure({"source_thinks": 400}, {"thinks": 800})
    assert found.keys() == {"ratio_out", "ratio_reasoning"}
    assert near(found["ratio_reasoning"], 2)


@pytest.mark.slow
def test_unreported_reasoning_of_the_target_measures_nothing(measure: Measure) -> None:
    assert measure({"source_thinks": 400}, {}) == {}


@pytest.mark.slow
def test_a_change_of_traffic_widens_the_error_or_says_nothing(measure: Measure) -> None:
    steady = measure()["ratio_out"].standard_error or 0
    growing = measure({"trend": 0.3}, {"trend": 0.0})["ratio_out"].standard_error or 0
    assert growing > 1.3 * steady
    assert measure({"trend": 1.5}, {}) == {}


@pytest.mark.slow
def test_longer_answers_everywhere_are_not_the_targets(measure: Measure) -> None:
    assert measure({}, {"scale": 1.6}) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"estimated_cost_gt": 0.001},
        {"estimated_cost_lt": 1},
        {"max_cost_usd": 1},
        {"tag_equals": "rare"},
        {"model_in": ()},
    ],
    ids=str,
)
def test_routes_that_cannot_be_traced_measure_nothing(
    measure: Measure, changes: dict[str, Any]
) -> None:
    assert measure(of=route(**changes)) == {}


@pytest.mark.slow
def test_a_target_that_answered_before_measures_nothing(measure: Measure) -> None:
    assert measure({"elsewhere": 0.02}, {}).keys() == {"ratio_out"}
    assert measure({"elsewhere": 0.2}, {}) == {}


def test_too_few_requests_measure_nothing(measure: Measure) -> None:
    assert measure({}, {"a_day": 60}) == {}


@pytest.mark.slow
def test_failures_and_cache_hits_are_not_compared(measure: Measure) -> None:
    def broken(row: dict[str, Any]) -> dict[str, Any]:
        number = UUID(row["id"]).int % 3
        cut: dict[str, Any] = {"output_tokens": 1}
        changes: tuple[dict[str, Any], ...]
        changes = ({}, cut | {"status": 500}, cut | {"cached": True, "cache_layer": "l1"})
        return row | changes[number]

    assert near(measure(rows=broken)["ratio_out"], 1.5)


@pytest.mark.slow
def test_requests_of_another_route_are_not_compared(measure: Measure) -> None:
    other = {"matched_route_id": str(UUID(int=9))}
    assert measure(rows=lambda row: row | other) == {}
    own = {"matched_route_id": str(UUID(int=1))}
    assert near(measure(rows=lambda row: row | own)["ratio_out"], 1.5)


@pytest.mark.slow
def test_two_standard_errors_of_strata_cover_the_truth() -> None:
    draw = np.random.default_rng(3)
    covered = 0
    for _ in range(1_000):
        sides = []
        for ratio, shares in ((1.0, (300, 100)), (1.5, (150, 150))):
            answers = [
                np.round(ratio * mean * draw.lognormal(-0.125, 0.5, n)).astype(int)
                for mean, n in zip((200, 600), shares, strict=True)
            ]
            sides.append(
                {
                    (h,): Moments(len(y), int(y.sum()), int((y**2).sum()))
                    for h, y in enumerate(answers)
                }
            )
        compared = compare(sides[0], sides[1], 200)
        assert compared is not None
        value, error = compared.ratio
        covered += abs(value - 1.5) < 1.96 * error
    assert 0.925 <= covered / 1_000 <= 0.975


def test_a_new_plan_uses_what_earlier_ones_measured(tmp_path: Path, template: Path) -> None:
    shutil.copy(template, tmp_path / "s.duckdb")
    ws = opened(tmp_path / "s.duckdb", new_id=uuid4)
    ws.import_logs(write(tmp_path / "after.jsonl", traffic(NOW, 4, seed=2, routed=True)))
    logged = TokenUsage(input_tokens=100, output_tokens=100)
    tokens = TokenUsage(input_tokens=120, output_tokens=130)
    scores = {
        UUID(int=n): SampleScore(
            request_id=UUID(int=n),
            verdict=Verdict.ACCEPTABLE,
            reason="",
            source_model=SOURCE,
            target_model=TARGET,
            logged=logged,
            answer=tokens,
        )
        for n in range(30)
    }
    checked = summarise(
        Sample(tuple(scores), (), (), 30, 0),
        RunRecord(
            scores, "j", "p", 0, 0, frozenset(scores), None, "", Decimal(1), Decimal(0), False, 60
        ),
    )
    with ws.store.transaction() as tx:
        tx.set_quality(ws.plans()["plan_id"][0], checked)
    given = Assumption(name="ratio_in", value=1.1, target_model=TARGET)
    options = ReplayOptions(
        [route()], PlanConfig(projection="full"), (given,), plan_id=uuid4(), prices_at=NOW
    )
    with ws.store.read() as snapshot:
        org_id = snapshot.org_id()
        used = with_measured(options, snapshot, org_id).assumptions
        reference = replace(options, config=PlanConfig(projection="reference"))
        assert with_measured(reference, snapshot, org_id) == reference
        elsewhere = replace(options, routes=[])
        assert with_measured(elsewhere, snapshot, org_id) == elsewhere
    assert [(one.name, one.source) for one in used] == [
        ("ratio_in", "user"),
        ("ratio_out", "rollout"),
        ("reasoning_tokens", "judged"),
        ("redo", "judged"),
    ]
    assert used[3].note == "0 of 30 judged answers degraded, plan 'cheaper'"
