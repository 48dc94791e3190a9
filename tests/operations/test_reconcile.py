"""Reconciliation of projected with actual figures, the causes of changes, and the track record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from tests.cli.support import check_error
from tests.display.test_cards import HOSTILE, Tags
from tests.logs.test_reader import ROW, write
from tests.workspace.test_workspace import NOW, opened
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE
from ttplan.cli.entrypoint import run
from ttplan.display.reconciliation import ReconciliationCard, TrackRecordCard
from ttplan.model.errors import InputError, InvalidState, PlanNotFound
from ttplan.model.plan import PlanConfig, Projection
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.reconciliation import CostChange, ReconciledFigure, Reconciliation
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.operations.plans.track_record import summarise
from ttplan.workspace import Workspace

DAY = timedelta(days=1)
ROUTE = ProposedRoute(
    id=UUID(int=1),
    name="chat to mini",
    priority=1,
    when=RouteConditions(tag_equals="chat"),
    then=RouteAction(target_model="gpt-4o-mini"),
)
PRICES = {
    "openai:gpt-4o-mini": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))
}


def traffic(
    start: datetime,
    days: int,
    a_day: int,
    *,
    seed: int,
    chat: float = 0.5,
    routed: bool = False,
    factor: float = 1.0,
    tags: tuple[str, str] = ("chat", "code"),
) -> list[dict[str, Any]]:
    """Requests on GPT-4o at 10 and 20 USD per million; where `routed`, mini answered those of chat,
    at `factor` times 1 and 2.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for n in range(days * a_day):
        is_chat = draw.random() < chat
        size, output = int(draw.integers(300, 900)), int(draw.integers(50, 150))
        rate = 1 * factor if routed and is_chat else 10
        cost = round((size * rate + output * 2 * rate) / 1e6, 9)
        rows.append(
            ROW
            | {
                "id": str(UUID(int=int(draw.integers(1, 2**60)))),
                "ts": (start + timedelta(seconds=n * 86_400 / a_day)).isoformat(),
                "model": "gpt-4o-mini" if routed and is_chat else "gpt-4o",
                "input_tokens": size,
                "output_tokens": output,
                "cached_tokens": 0,
                "cost_usd": cost,
                "baseline_cost_usd": cost,
                "latency_ms": int(draw.integers(500, 1500)),
                "tag": tags[0] if is_chat else tags[1],
            }
        )
    return rows


def begun(path: Path, **options: Any) -> Workspace:
    """A workspace with a plan that went live at NOW, after four days of 200 requests each."""
    ws = opened(path)
    ws.import_logs(write(path.with_name("before.jsonl"), traffic(NOW - 4 * DAY, 4, 200, seed=1)))
    # Recorded costs are not list prices here, which a full projection would make something of.
    options = {"config": PlanConfig(projection="reference")} | options
    ws.apply(ws.plan([ROUTE], name="cheaper", prices=PRICES, **options))
    return ws


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a workspace that has begun."""
    path = tmp_path_factory.mktemp("begun") / "s.duckdb"
    begun(path)
    return path


@pytest.fixture
def live(tmp_path: Path, template: Path) -> Callable[..., Workspace]:
    """A workspace that has begun, and into which further rows are imported."""

    def made(since: list[dict[str, Any]] | None = None, **options: Any) -> Workspace:
        path = tmp_path / "s.duckdb"
        if options:
            begun(path, **options)
        else:
            shutil.copy(template, path)
        ws = opened(path, new_id=lambda: uuid4())
        if since is not None:
            ws.import_logs(write(tmp_path / "since.jsonl", since))
        return ws

    return made


def reconciled(ws: Workspace, **options: Any) -> Reconciliation:
    return ws.reconcile(ws.plans()["plan_id"][0], **options).result


def test_what_comes_as_projected_is_inside(live: Callable[..., Workspace]) -> None:
    reconciliation = reconciled(live(traffic(NOW, 3, 200, seed=2, routed=True)))
    assert (
        reconciliation.requests,
        reconciliation.new_requests,
        reconciliation.projected_requests,
    ) == (600, 0, 800)
    for name in ("cost_per_request_usd", "cost_per_day_usd"):
        figure = reconciliation.of(name)
        assert figure.consistent, figure
        assert figure.actual == pytest.approx(figure.expected, rel=0.03)
        assert figure.expected_95 is not None
        assert figure.expected_95[0] < figure.expected < figure.expected_95[1]
        assert figure.actual_95 is not None
        assert figure.actual_95[0] < figure.actual < figure.actual_95[1]
    assert reconciliation.caveats == ()


def wordier(rows: list[dict[str, Any]], model: str, factor: float) -> list[dict[str, Any]]:
    """The rows with longer answers of a model, at the same prices."""
    rate = {"gpt-4o": 20, "gpt-4o-mini": 2}[model] / 1e6
    return [
        row
        if row["model"] != model
        else row
        | {
            "output_tokens": (output := round(row["output_tokens"] * factor)),
            "cost_usd": round(row["cost_usd"] + (output - row["output_tokens"]) * rate, 9),
        }
        for row in rows
    ]


def test_wordier_other_models_are_no_error_of_the_plan(live: Callable[..., Workspace]) -> None:
    rows = traffic(NOW, 2, 500, seed=3, chat=0.8, routed=True)
    new = traffic(NOW, 2, 10, seed=4, tags=("batch", "batch"))
    longer = wordier(rows, "gpt-4o", 2.0)
    reconciliation = reconciled(live([*longer, *new]))
    days = (reconciliation.until - reconciliation.since) / DAY
    change, intervals = reconciliation.change, {p.name: p for p in reconciliation.intervals}

    actual = sum(row["cost_usd"] for row in [*longer, *new]) / days
    projected = reconciliation.of("cost_per_day_usd").projected
    assert change.total == pytest.approx(actual - projected, rel=1e-9)
    assert change.total == sum(change.model_dump().values())
    assert change.new == pytest.approx(sum(row["cost_usd"] for row in new) / days, rel=1e-9)
    assert reconciliation.new_requests == 20
    assert any("20 of 1,020 requests are of kinds" in caveat for caveat in reconciliation.caveats)

    others = [row["output_tokens"] for row in rows if row["model"] == "gpt-4o"]
    truth = sum(others) * 20e-6 / days
    assert change.others == pytest.approx(truth, rel=0.1)
    once = intervals["others"].once_95
    assert once is not None
    assert 0 < once[0] < truth < once[1]
    assert max(abs(change.rate), abs(change.routing), abs(change.prices)) < truth / 50
    assert reconciliation.alarm is False
    assert "costs are as projected" in repr(ReconciliationCard(reconciliation))


def test_more_traffic_is_volume_and_no_error_of_the_plan(live: Callable[..., Workspace]) -> None:
    reconciliation = reconciled(live(traffic(NOW, 2, 1000, seed=5, routed=True)))
    assert reconciliation.change.volume > 20 * abs(reconciliation.change.rate)
    assert reconciliation.of("cost_per_request_usd").consistent
    assert reconciliation.of("cost_per_day_usd").consistent
    assert reconciliation.of("cost_per_day_usd").actual == pytest.approx(
        5 * reconciliation.of("cost_per_day_usd").projected, rel=0.1
    )


def test_other_traffic_is_mix_and_no_error_of_the_plan(live: Callable[..., Workspace]) -> None:
    reconciliation = reconciled(live(traffic(NOW, 2, 400, seed=6, chat=0.95, routed=True)))
    figure = reconciliation.of("cost_per_request_usd")
    assert figure.actual < figure.projected / 2
    assert figure.consistent
    assert reconciliation.change.mix < 0
    assert abs(reconciliation.change.mix) > 10 * abs(reconciliation.change.rate)


def test_another_price_is_told_from_other_tokens(live: Callable[..., Workspace]) -> None:
    reconciliation = reconciled(live(traffic(NOW, 3, 400, seed=7, routed=True, factor=3.0)))
    change = reconciliation.change
    figure = reconciliation.of("cost_per_request_usd")
    assert (figure.inside, figure.consistent) == (False, False)
    assert change.prices > 0
    assert abs(change.mix) < change.prices / 3
    assert max(abs(change.rate), abs(change.others)) < change.prices / 20
    assert reconciliation.alarm
    shown = repr(ReconciliationCard(reconciliation))
    assert "ALARM: costs are not as projected" in shown
    assert "most of it “prices”" in " ".join(shown.split())


def test_routes_that_the_gateway_ignores_are_named(live: Callable[..., Workspace]) -> None:
    reconciliation = reconciled(live(traffic(NOW, 3, 400, seed=8, routed=False)))
    change = reconciliation.change
    assert reconciliation.of("cost_per_request_usd").consistent is False
    assert reconciliation.new_requests == 0
    assert change.routing > 10 * max(abs(change.mix), abs(change.rate), abs(change.others))
    assert reconciliation.alarm
    assert reconciliation.savings is not None
    assert (reconciliation.savings.requests, reconciliation.savings.usd) == (0, 0.0)
    assert any("gateway follows them" in caveat for caveat in reconciliation.caveats)


@pytest.mark.slow
def test_wordier_targets_are_the_plans_error(live: Callable[..., Workspace]) -> None:
    rows = traffic(NOW, 4, 200, seed=9, routed=True)
    reconciliation = reconciled(live(wordier(rows, "gpt-4o-mini", 2.0)))
    change = reconciliation.change
    truth = sum(row["output_tokens"] for row in rows if row["model"] == "gpt-4o-mini") * 2e-6 / 4
    assert change.rate == pytest.approx(truth, rel=0.1)
    assert max(abs(change.others), abs(change.routing), abs(change.prices)) < truth / 2
    assert reconciliation.alarm


@pytest.mark.slow
@pytest.mark.parametrize("marked", [False, True])
def test_marks_of_the_log_tell_what_was_rerouted(
    live: Callable[..., Workspace], marked: bool
) -> None:
    rows = traffic(NOW, 4, 100, seed=9, routed=True)
    own = [row | {"matched_route_id": str(ROUTE.id)} for row in rows] if marked else rows
    straight = traffic(NOW, 4, 20, seed=10, chat=1.0, routed=True)
    savings = reconciled(live([*own, *straight])).savings
    assert savings is not None
    chat = sum(row["model"] == "gpt-4o-mini" for row in rows)
    assert savings.requests == chat + (0 if marked else len(straight))


@pytest.mark.parametrize(
    "config",
    [
        PlanConfig(cluster="session_id"),
        pytest.param(PlanConfig(cluster="hour"), marks=pytest.mark.slow),
        pytest.param(PlanConfig(l1_ttl_seconds=3600), marks=pytest.mark.slow),
    ],
)
def test_the_plans_own_way_of_counting_is_kept(
    live: Callable[..., Workspace], config: PlanConfig
) -> None:
    rows = [
        row | {"session_id": str(n % 300)}
        for n, row in enumerate(traffic(NOW, 3, 200, seed=2, routed=True))
    ]
    reference = config.model_copy(update={"projection": "reference"})
    reconciliation = reconciled(live(rows, config=reference))
    assert reconciliation.interval_unit == (config.cluster or "minute")
    assert reconciliation.of("cost_per_request_usd").expected > 0
    if config.cluster == "hour":
        assert reconciliation.of("cost_per_request_usd").consistent


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.6])
def test_days_that_differ_are_the_unit(tmp_path: Path, spread: float) -> None:
    """Four weeks before, and one week after, whose answers are longer on some days."""
    factors = np.exp(spread * np.random.default_rng(7).standard_normal(35))

    def rows(start: datetime, first: int, days: int, *, routed: bool) -> list[dict[str, Any]]:
        model = "gpt-4o-mini" if routed else "gpt-4o"
        by_day = (
            traffic(start + n * DAY, 1, 150, seed=first + n, routed=routed) for n in range(days)
        )
        return [
            row
            for own, factor in zip(by_day, factors[first:], strict=False)
            for row in wordier(own, model, float(factor))
        ]

    ws = opened(tmp_path / "s.duckdb", new_id=lambda: uuid4())
    before, since = rows(NOW - 28 * DAY, 0, 28, routed=False), rows(NOW, 28, 7, routed=True)
    ws.import_logs(write(tmp_path / "before.jsonl", before))
    config = PlanConfig(projection="reference")
    ws.apply(ws.plan([ROUTE], name="cheaper", prices=PRICES, config=config))
    ws.import_logs(write(tmp_path / "since.jsonl", since))
    reconciliation = reconciled(ws)
    assert reconciliation.interval_unit == ("day" if spread else "minute")
    assert reconciliation.error is not None
    assert reconciliation.error.alarm is False


@pytest.mark.parametrize("projection", ["reference", "full"])
def test_projected_figures_are_the_plans_own(
    live: Callable[..., Workspace], projection: Projection
) -> None:
    config = PlanConfig(projection=projection)
    ws = live(traffic(NOW, 1, 300, seed=2, routed=True), config=config)
    reconciliation, result = reconciled(ws), ws.show(ws.plans()["plan_id"][0]).result
    days = (result.window_end - result.window_start) / DAY
    assert reconciliation.of("cost_per_day_usd").projected == pytest.approx(
        float(result.aggregates.total_projected_cost_usd) / days, rel=1e-12
    )
    assert (
        reconciliation.of("p95_latency_ms").projected == result.aggregates.p95_latency_ms_projected
    )


# --- the time that counts -----------------------------------------------------


def test_it_ends_where_the_next_route_changes(
    live: Callable[..., Workspace], tmp_path: Path
) -> None:
    ws = live(traffic(NOW, 4, 200, seed=2, routed=True))
    other = ROUTE.model_copy(
        update={"id": UUID(int=2), "name": "other", "when": RouteConditions(tag_equals="none")}
    )
    later = opened(tmp_path / "s.duckdb", clock=lambda: NOW + 2 * DAY, new_id=lambda: UUID(int=77))
    later.apply(later.plan([other], name="second", prices=PRICES))
    reconciliation = reconciled(ws)
    assert (reconciliation.since, reconciliation.until, reconciliation.requests) == (
        NOW,
        NOW + 2 * DAY,
        400,
    )
    assert reconciliation.caveats[-1].startswith("Plan 'second' was applied on")


def test_it_ends_where_the_plan_was_reverted(
    live: Callable[..., Workspace], tmp_path: Path
) -> None:
    ws = live(traffic(NOW, 4, 200, seed=2, routed=True))
    opened(tmp_path / "s.duckdb", clock=lambda: NOW + DAY).revert(ws.plans()["plan_id"][0])
    reconciliation = reconciled(ws)
    assert (reconciliation.until, reconciliation.requests) == (NOW + DAY, 200)
    assert any("was reverted" in caveat for caveat in reconciliation.caveats)


def test_it_can_end_earlier(live: Callable[..., Workspace]) -> None:
    ws = live(traffic(NOW, 4, 200, seed=2, routed=True))
    assert reconciled(ws, until=NOW + DAY).requests == 200
    with pytest.raises(InputError, match="expected a timezone-aware datetime"):
        reconciled(ws, until=datetime(2026, 5, 2))
    with pytest.raises(InputError, match="no request was logged since"):
        reconciled(ws, until=NOW)


def test_what_cannot_be_compared(live: Callable[..., Workspace], tmp_path: Path) -> None:
    ws = live()
    with pytest.raises(
        InputError, match=r"no request was logged since plan .* was applied on 2026-05-01 12:00"
    ):
        reconciled(ws)
    projected = ws.plan([ROUTE], name="another", prices=PRICES)
    with pytest.raises(InvalidState):
        ws.reconcile(projected)
    with pytest.raises(PlanNotFound):
        ws.reconcile(UUID(int=3))
    ws.import_logs(
        write(tmp_path / "new.jsonl", traffic(NOW, 1, 300, seed=9, tags=("new", "newer")))
    )
    with pytest.raises(InputError, match="no request of a kind that plan"):
        reconciled(ws)
    assert ws.track_record().result.plans == 0


def test_few_requests_are_told(live: Callable[..., Workspace]) -> None:
    assert (
        "Only 100 requests since"
        in reconciled(live(traffic(NOW, 1, 100, seed=2, routed=True))).caveats[0]
    )


# --- kept ---------------------------------------------------------------------


def test_it_is_kept_and_makes_the_record(live: Callable[..., Workspace]) -> None:
    ws = live(traffic(NOW, 3, 200, seed=2, routed=True))
    reconciliation = reconciled(ws)
    with ws.store.read() as snapshot:
        org = snapshot.org_id()
        assert org is not None
        assert snapshot.reconciliations(org) == [reconciliation]
    record = ws.track_record().result
    assert (record.plans, record.judged, record.consistent) == (1, 1, 1)
    error = reconciliation.error
    assert error is not None
    assert record.bias_pct == pytest.approx(error.usd / error.expected_usd * 100)


def kept(plan: int, actual: float, inside: bool | None, at: int = 0) -> Reconciliation:
    figure = {
        "name": "cost_per_request_usd",
        "projected": 9.0,
        "projected_95": None,
        "expected": 10.0,
    }
    return Reconciliation(
        plan_id=UUID(int=plan),
        plan_name="p",
        reconciled_at=NOW + at * DAY,
        since=NOW,
        until=NOW + DAY,
        requests=1,
        new_requests=0,
        projected_requests=1,
        interval_unit="request",
        figures=(
            ReconciledFigure.model_validate(
                figure
                | {
                    "expected_95": None,
                    "actual": actual,
                    "actual_95": None,
                    "inside": inside,
                    "consistent": inside,
                }
            ),
        ),
        change=CostChange(volume=0, mix=0, rate=0, new=0),
    )


def test_a_record_takes_the_last_of_each_plan() -> None:
    record = summarise(
        [kept(1, 30.0, False), kept(2, 9.0, True), kept(1, 12.0, True, at=1), kept(3, 13.0, None)]
    )
    assert (record.plans, record.judged, record.inside) == (3, 2, 2)
    assert record.errors_pct == pytest.approx((20.0, -10.0, 30.0))
    assert record.median_error_pct == pytest.approx(20.0)
    assert record.bias_pct == pytest.approx(40 / 3)
    assert record.inside_pct_95 == pytest.approx((34.24, 100.0), abs=0.01)


def test_an_empty_record() -> None:
    record = summarise([])
    assert (record.plans, record.inside_pct_95, record.bias_pct) == (0, None, None)
    assert "no plan was reconciled yet" in repr(TrackRecordCard(record))


def test_cards_fit_and_escape(live: Callable[..., Workspace]) -> None:
    reconciliation = reconciled(live(traffic(NOW, 2, 200, seed=2, routed=True)))
    hostile = reconciliation.model_copy(
        update={"plan_name": HOSTILE * 3, "caveats": (HOSTILE * 4,)}
    )
    shown = ReconciliationCard(hostile)
    assert all(len(line) <= 80 for line in repr(shown).splitlines())
    assert "img" not in Tags(shown._repr_html_()).tags
    record = TrackRecordCard(summarise([reconciliation]))
    assert all(len(line) <= 80 for line in repr(record).splitlines())
    assert "the 95 % interval held in" in record._repr_html_()


# --- health -------------------------------------------------------------------


def costs(ws: Workspace) -> tuple[bool, str]:
    (check,) = [check for check in ws.health().result.checks if check.name == "costs"]
    return check.ok, check.said


def test_health_says_whether_the_cost_is_as_projected(
    live: Callable[..., Workspace], tmp_path: Path
) -> None:
    ws = live()
    assert costs(ws) == (True, "nothing to compare: no live plan has 200 requests since")
    ws.import_logs(write(tmp_path / "a.jsonl", traffic(NOW, 1, 400, seed=2, routed=True)))
    ok, message = costs(ws)
    assert ok
    assert "as projected" in message
    ws.import_logs(
        write(tmp_path / "b.jsonl", traffic(NOW + DAY, 3, 400, seed=3, routed=True, factor=4))
    )
    ok, message = costs(ws)
    assert not ok
    assert "beyond chance at every look; see `ttplan reconcile`" in message
    assert ws.track_record().result.plans == 0


@pytest.mark.statistics
def test_daily_looks_end_to_end(tmp_path: Path) -> None:
    """A week in which nothing changes, then a target that answers at half as much length again."""
    ws = begun(tmp_path / "s.duckdb")
    same = traffic(NOW, 7, 200, seed=100, routed=True)
    ws.import_logs(write(tmp_path / "same.jsonl", same))
    looks = [reconciled(ws, until=NOW + day * DAY) for day in range(2, 8)]
    assert not any(look.alarm for look in looks)
    assert costs(ws)[0]

    later = traffic(NOW + 7 * DAY, 7, 200, seed=101, routed=True)
    ws.import_logs(write(tmp_path / "later.jsonl", wordier(later, "gpt-4o-mini", 1.5)))
    assert reconciled(ws, until=NOW + 14 * DAY).alarm
    assert not costs(ws)[0]


# --- the command line ---------------------------------------------------------


def test_commands(
    live: Callable[..., Workspace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    plan = live(traffic(NOW, 2, 300, seed=2, routed=True)).plans()["plan_id"][0]
    assert run(["reconcile", plan[:8] if plan[:8] != "00000000" else plan]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("cheaper: saves ")
    assert "costs are as projected" in shown
    assert run(["reconcile", plan, "--until", (NOW + DAY).isoformat(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 300
    assert run(["track-record", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plans"] == 1
    assert run(["track-record"]) == 0
    assert "1 plan reconciled" in capsys.readouterr().out
    check_error(["reconcile", str(UUID(int=5))], 2, "no plan", capsys)
