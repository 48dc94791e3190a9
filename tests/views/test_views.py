"""Views: documented columns and types, filters, pages, and savings in parts that add up to the
plan's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import ttplan
from tests.audit.chains import KEY
from tests.logs.test_reader import write
from tests.support import universe
from tests.support.strategies import START
from ttplan import views
from ttplan.gateways.plan_file import read_plan_file
from ttplan.model.audit import StoredEntry
from ttplan.model.plan import PlanConfig
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.operations.chain.store_chain import EntryPage
from ttplan.views.columns import EXACT
from ttplan.views.stored import UNREADABLE, RoutesView, entries_view, routes_view
from ttplan.workspace import Workspace

TAG = "\u202e<b>, \x1b[31m"
ROUTES = (
    ProposedRoute(
        id=UUID(int=1),
        name="chat",
        priority=9,
        when=RouteConditions(tag_equals="chat"),
        then=RouteAction(target_model="gpt-4o-mini"),
    ),
    ProposedRoute(
        id=UUID(int=2),
        name="no price",
        priority=8,
        when=RouteConditions(tag_equals="free"),
        then=RouteAction(target_model="unknown"),
    ),
    ProposedRoute(
        id=UUID(int=3),
        name="too dear",
        priority=7,
        when=RouteConditions(model_in=("gpt-4o",), input_tokens_gt=900),
        then=RouteAction(target_model="gpt-4o-mini", max_cost_usd=Decimal("0.0004")),
    ),
)


def log() -> list[dict[str, Any]]:
    """1,200 requests over three days, of several tags and two models, some answered by a cache."""
    rows = []
    for n, row in enumerate(universe.log(1_200, seed=3)):
        fields = json.loads(row.model_dump_json()) | {
            "session_id": f"s{n % 260}",
            "ts": (START + timedelta(minutes=3 * n)).isoformat(),
        }
        fields |= {
            "tag": ("chat", "free", TAG, None, "")[n % 5],
            "model": "gpt-4o" if n % 3 else "gpt-4o-mini",
        }
        rows.append(
            fields | {"cost_usd": 0.0 if n % 11 == 0 else fields["cost_usd"], "cached": n % 11 == 0}
        )
    return rows


def opened(folder: Path) -> Workspace:
    moments = (datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=n) for n in range(10**6))
    return ttplan.open(folder / "s.duckdb", key=KEY, clock=lambda: next(moments))


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A log and three plans of it: one live, one with caches and clusters, one of other
    requests."""
    folder = tmp_path_factory.mktemp("views")
    made = opened(folder)
    made.import_logs(write(folder / "log.jsonl", log()), progress=False)
    made.apply(made.plan(ROUTES, name="plain", allow_unpriced=True), actor=ttplan.User(UUID(int=7)))
    config = PlanConfig(l1_ttl_seconds=3600, cluster="session_id")
    made.plan(ROUTES, name="cached", allow_unpriced=True, config=config)
    known = (
        {name: value for name, value in row.items() if value is not None and name != "tag"}
        for row in log()[:50]
    )
    elsewhere = write(
        folder / "other.parquet", [row | {"ts": datetime.fromisoformat(row["ts"])} for row in known]
    )
    made.plan(ROUTES[:1], name="of others", requests=elsewhere)
    return made


def run_of(ws: Workspace, name: str) -> StoredPlan:
    return ws.show(name).run


def dtypes(frame: views.View) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


def exact(columns: Mapping[str, str]) -> dict[str, str]:
    return {name: EXACT if name.endswith("_usd") else kind for name, kind in columns.items()}


def test_views_have_their_documented_columns_and_types(ws: Workspace, tmp_path: Path) -> None:
    for store in (opened(tmp_path), ws):
        parts = [item for item in views.SAVINGS.items() if not item[0].startswith("per_month")]
        by_tag = {**dict(parts[:3]), "tag": "string", **dict(parts[3:])}
        for frame, columns in (
            (store.plans(), views.PLANS),
            (store.plans(exact=True), exact(views.PLANS)),
            (store.savings(), views.SAVINGS),
            (store.savings("tag"), by_tag),
            (store.savings("tag", exact=True), exact(by_tag)),
            (store.routes(), views.ROUTES),
            (store.requests(), views.REQUESTS),
            (store.requests(exact=True), exact(views.REQUESTS)),
            (store.entries(), views.ENTRIES),
        ):
            assert dtypes(frame) == columns
            assert (len(frame) > 0) == (store is ws)
    assert dtypes(ws.route_history("chat")) == views.ROUTE_HISTORY
    assert dtypes(ws.latencies(run_of(ws, "plain").plan_id)) == views.LATENCIES
    assert dtypes(ws.assumptions("plain")) == views.ASSUMPTIONS
    every = {name for columns in views.VIEWS.values() for name in columns}
    assert every == set(views.DESCRIPTIONS)


def test_assumptions_are_those_of_the_result(ws: Workspace) -> None:
    frame, effects = ws.assumptions("plain"), run_of(ws, "plain").result.assumptions
    assert list(frame["assumption"]) == [effect.name for effect in effects]
    assert set(frame["source"]) >= {"none"}
    redo = frame[frame["assumption"] == "redo"].iloc[0]
    own = next(effect for effect in effects if effect.name == "redo")
    assert (redo["unit"], redo["requests"]) == ("share", own.requests)
    assert redo["slope_usd"] == own.slope_usd
    assert "assumptions of plain (USD per window)" in repr(frame)


def test_a_reference_projection_has_no_assumptions(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.import_logs(write(tmp_path / "log.jsonl", log()[:300]), progress=False)
    config = PlanConfig(projection="reference")
    plan = made.plan(ROUTES[:1], name="flat", config=config, progress=False)
    frame = made.assumptions(plan)
    assert (len(frame), dtypes(frame)) == (0, views.ASSUMPTIONS)
    assert "not a full projection" in repr(frame)


@pytest.mark.parametrize(
    "by", [("route",), ("tag",), ("day", "model", "target_model")], ids=",".join
)
@pytest.mark.parametrize("name", ["plain", "cached"])
def test_parts_add_up_to_the_plan_to_the_last_digit(
    ws: Workspace, name: str, by: tuple[str, ...]
) -> None:
    run = run_of(ws, name)
    view, whole = ws.savings(by, plan=run.plan_id, exact=True), run.result.aggregates
    assert list(view.columns)[3 : 3 + len(by)] == list(by)
    assert not view.duplicated([*by]).any()
    sums = {
        column: view[column].sum()
        for column in ("requests", "baseline_usd", "actual_usd", "projected_usd", "savings_usd")
    }
    assert sums == {
        "requests": run.result.sample_size,
        "baseline_usd": whole.total_baseline_cost_usd,
        "actual_usd": whole.total_actual_cost_usd,
        "projected_usd": whole.total_projected_cost_usd,
        "savings_usd": whole.projected_change_usd,
    }
    assert view["change_vs_actual_usd"].sum() == whole.change_vs_actual_usd
    known = view[view["savings_usd_lo"].notna()]
    assert len(known) > 0 or (name, by) != ("plain", ("tag",))
    assert (known["savings_usd_lo"] <= known["savings_usd"].astype(float)).all()
    assert (known["savings_usd"].astype(float) <= known["savings_usd_hi"]).all()
    assert view.loc[view["savings_usd"] != 0, "savings_usd_lo"].notna().all()


@pytest.mark.parametrize("name", ["plain", "cached"])
def test_rows_by_route_are_those_of_the_result(ws: Workspace, name: str) -> None:
    run = run_of(ws, name)
    view = ws.savings("route", plan=run.plan_id, exact=True)
    shown: dict[Any, Any] = {
        row.route: (row.requests, row.baseline_usd, row.projected_usd)
        for row in view[view.route.notna()].itertuples()
    }
    assert shown == {
        part.route_name: (part.matched, part.baseline_cost_usd, part.projected_cost_usd)
        for part in run.result.per_route_breakdown
    }
    assert "no price" not in shown
    assert view.route.isna().sum() == 1


def test_a_part_that_is_the_whole_has_the_plans_own_interval(ws: Workspace, tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    workspace.import_logs(
        write(tmp_path / "log.jsonl", [row | {"tag": "chat"} for row in log()]), progress=False
    )
    for config in (None, PlanConfig(cluster="session_id")):
        plan = workspace.plan(ROUTES[:1], name="p", config=config)
        part = workspace.savings("tag", plan=plan).iloc[0]
        ends = plan.result.confidence_intervals
        assert (part.savings_usd_lo, part.savings_usd_hi) == pytest.approx(
            ends.projected_change_usd_95, rel=1e-12
        )
        assert (part.change_vs_actual_usd_lo, part.change_vs_actual_usd_hi) == pytest.approx(
            ends.change_vs_actual_usd_95, rel=1e-12
        )


def test_days_are_in_order_and_other_groups_by_savings(ws: Workspace) -> None:
    days = ws.savings("day", plan=run_of(ws, "plain").plan_id)["day"]
    assert list(days) == sorted(days)
    assert len(days) == 3
    assert {str(day.time()) for day in days} == {"00:00:00"}
    saved = ws.savings("tag", plan=run_of(ws, "plain").plan_id)["change_vs_actual_usd"]
    assert list(saved) == sorted(saved, reverse=True)


def test_causes_of_a_plan_are_in_order_and_add_up(ws: Workspace) -> None:
    run = run_of(ws, "plain")
    view = ws.savings("cause", plan=run.plan_id, exact=True)
    assert list(view["cause"]) == ["prices", "tokens", "caches", "fees", "recorded"]
    assert view["change_vs_actual_usd"].sum() == run.result.aggregates.change_vs_actual_usd
    prices = view[view["cause"] == "prices"].iloc[0]
    assert prices["change_vs_actual_usd_lo"] < prices["change_vs_actual_usd_hi"]


def test_plans_without_causes_are_named_in_a_note(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    workspace.import_logs(write(tmp_path / "log.jsonl", log()), progress=False)
    workspace.plan(ROUTES[:1], name="old", config=PlanConfig(projection="reference"))
    view = workspace.savings("cause")
    assert view.empty
    assert "1 plan is left out" in view.attrs["notes"][0]
    assert "'old'" in view.attrs["notes"][0]


def test_what_was_saved_without_the_plan_has_a_column(ws: Workspace) -> None:
    row = ws.savings(plan=run_of(ws, "plain").plan_id, exact=True).iloc[0]
    assert row["saved_already_usd"] == row["baseline_usd"] - row["actual_usd"]


def test_a_plan_without_stored_requests_is_left_out_with_a_note(ws: Workspace) -> None:
    with pytest.raises(
        ttplan.InputError, match=r"no longer has the 50 requests that plan .* was computed from"
    ):
        ws.savings("tag", plan=run_of(ws, "of others").plan_id)
    view = ws.savings("tag")
    assert set(view["name"]) == {"plain", "cached"}
    assert "1 plan is left out" in view.attrs["notes"][0]
    assert "'of others'" in repr(view)
    assert list(ws.savings()["name"]) == ["plain", "cached", "of others"]


def test_requests_come_in_pages(ws: Workspace) -> None:
    seen: list[str] = []
    after = None
    while True:
        page = ws.requests(limit=500, after=after)
        seen += list(page["id"])
        after = page["id"].iloc[-1]
        assert (f"requests(after={after!r}" in repr(page)[-90:].replace("\n    ", " ")) == (
            len(page.attrs["notes"]) == 1
        )
        if not page.attrs["notes"]:
            break
    expected = [row["id"] for row in sorted(log(), key=lambda row: (row["ts"], row["id"]))]
    assert seen == expected
    assert len(ws.requests()) == 1_000
    page_of_requests = ws.requests(
        tag=TAG, model="gpt-4o", since="2026-05-02", until=START + timedelta(days=2), limit=9999
    )
    expected_ids = [
        row
        for row in log()
        if row["tag"] == TAG and row["model"] == "gpt-4o" and row["ts"] >= "2026-05-02"
    ]
    expected_ids = [
        row["id"]
        for row in expected_ids
        if datetime.fromisoformat(row["ts"]) < START + timedelta(days=2)
    ]
    assert list(page_of_requests["id"]) == expected_ids
    assert ws.requests(exact=True)["cost_usd"].dtype == EXACT


def test_entries_come_in_pages_with_their_payload(ws: Workspace) -> None:
    plan_id = str(run_of(ws, "plain").plan_id)
    row = ws.entries(plan=plan_id).iloc[0]
    assert (row.seq, row.event, row.actor, row.plan_id) == (
        0,
        "plan.applied",
        f"user {UUID(int=7)}",
        plan_id,
    )
    assert json.loads(row.payload)["sample_size"] == 1_200
    assert row.hash == str(ws.anchor()).partition(":")[2]
    assert (
        len(ws.entries(event="plan.reverted"))
        == len(ws.entries(after=0))
        == len(ws.entries(until=row.time))
        == 0
    )
    assert len(ws.entries(since=row.time)) == 1
    assert ws.entries(limit=1).attrs["notes"] == []


def test_wrong_arguments_are_refused(ws: Workspace) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: ws.plans(since="yesterday"),
            "since is 'yesterday'; expected a timezone-aware datetime",
        ),
        (
            lambda: ws.plans(until=datetime(2026, 5, 1)),
            "until is .*; expected a timezone-aware datetime",
        ),
        (lambda: ws.plans(limit=0), "limit is 0; expected at least 1"),
        (lambda: ws.requests(limit=-1), "limit is -1; expected at least 1"),
        (lambda: ws.plans(status="live"), "status is 'live'; expected one of projected"),  # type: ignore[arg-type]
        (
            lambda: ws.savings("tags"),
            "savings by 'tags'; expected plan, cause, or one or more of route",
        ),
        (lambda: ws.savings([]), "savings by nothing"),
        (lambda: ws.savings(["tag", "tag"]), "expected each of them once"),
        (lambda: ws.requests(after="x"), "after is 'x', and no request has that id"),
        (lambda: ws.requests(after=str(UUID(int=1))), "no request has that id"),
        (
            lambda: ws.routes(at="2026-05-01T00:00"),
            "at is '2026-05-01T00:00'; expected a timezone-aware datetime",
        ),
    ]
    for ask, message in wrong:
        with pytest.raises(ttplan.InputError, match=message):
            ask()
    with pytest.raises(ttplan.PlanNotFound):
        ws.savings("tag", plan=UUID(int=12345))


def test_routes_are_filtered_at_any_time(ws: Workspace) -> None:
    assert list(ws.routes()["name"]) == ["chat", "no price", "too dear"]
    assert list(ws.routes(name="a")["name"]) == ["chat", "too dear"]
    assert list(ws.routes(target_model="unknown")["name"]) == ["no price"]
    assert len(ws.routes(plan=run_of(ws, "cached").plan_id)) == 0
    assert len(ws.routes(at="2026-05-31")) == 0
    assert len(ws.routes(at="2026-12-31", plan=run_of(ws, "plain").plan_id)) == 3


def test_a_sticky_route_says_so_and_keeps_it_in_yaml(tmp_path: Path) -> None:
    routes = [
        ROUTES[0].model_copy(update={"sticky": "session"}),
        ROUTES[1].model_copy(update={"sticky": "session", "when": RouteConditions()}),
    ]
    made = datetime(2026, 6, 1, tzinfo=UTC)
    view = routes_view([LiveRoute(route=r, plan_id=UUID(int=1), applied_at=made) for r in routes])
    assert list(view["conditions"]) == ["tag_equals=chat, sticky=session", "any, sticky=session"]
    view.to_yaml(tmp_path / "routes.yaml")
    assert list(read_plan_file(tmp_path / "routes.yaml").routes) == routes


def test_a_view_shows_units_times_and_texts(ws: Workspace) -> None:
    view = ws.savings("tag", plan=run_of(ws, "plain").plan_id)
    text, page = repr(view), view._repr_html_()
    assert max(map(len, text.splitlines())) <= 80
    row = view[view["tag"] == "chat"].iloc[0]
    assert f"{row.savings_usd_lo:,.6f} to {row.savings_usd_hi:,.6f}" in text
    assert "savings_usd 95 %" in page
    assert r"\u202e<b>, \u001b[31m" in text
    assert r"\u202e&lt;b&gt;, \u001b[31m" in page
    assert "\u202e" not in text + page
    # What a person makes of it is shown, too: chosen columns as a view, sums by an index, several
    # levels as pandas does.
    assert repr(view[["tag", "savings_usd"]]).splitlines()[2].split() == ["tag", "savings_usd"]
    assert "chat" in repr(view.groupby("tag")[["savings_usd"]].sum())
    by_two: Any = view.groupby(["tag", "name"])[["savings_usd"]].sum()
    assert "chat" in by_two._repr_html_()
    assert "none" in repr(view.iloc[:0])


def test_views_of_another_shape_can_be_shown(ws: Workspace) -> None:
    view = ws.savings()
    shapes: tuple[Any, ...] = (
        view.T,
        view.set_index("name"),
        view.set_index("name").T,
        view.set_index("name").T.rename_axis("figure"),
        view.rename(columns={"savings_usd": "saved"}),
        view.rename(columns={"savings_usd_lo": "low"}),
        view.rename(columns={"name": "savings_ms"}),
        view.rename(columns={"requests": "low_lo", "name": "low_hi"}),
        view.groupby("status").sum(numeric_only=True),
    )
    for shape in shapes:
        assert "plain" in repr(shape) or "projected" in repr(shape)
        assert shape._repr_html_().count("<th") >= len(shape.columns) - 3


def test_a_routes_view_is_written_as_a_plan_file(ws: Workspace, tmp_path: Path) -> None:
    view = ws.routes()
    assert isinstance(view, RoutesView)
    file = tmp_path / "live.yaml"
    assert view.to_yaml(file) == file.read_text()
    assert [route.id for route in read_plan_file(file).routes] == [UUID(i) for i in view.route_id]
    one_route = view[view["name"] == "chat"]
    assert one_route.to_yaml().count("name: ") == 1
    with pytest.raises(ttplan.InputError, match="exists already"):
        view.to_yaml(file)
    with pytest.raises(ttplan.InputError, match="no column route_id"):
        view[["name"]].to_yaml()
    assert view.groupby("plan_id").size().sum() == len(view)


def test_an_entry_that_cannot_be_read_is_shown_as_such() -> None:
    bodies = (b"no more", b"[]", b"{}", b'{"payload": 3}')
    records = [
        StoredEntry(str(UUID(int=1)), seq, "0" * 64, "1" * 64, "2" * 64, body)
        for seq, body in enumerate(bodies)
    ]
    view = entries_view(EntryPage(records, False))
    assert list(view["event"]) == [UNREADABLE] * len(bodies)
    assert list(view["seq"]) == [0, 1, 2, 3]


def test_plans_are_filtered(ws: Workspace) -> None:
    assert list(ws.plans(status="applied")["name"]) == ["plain"]
    assert list(ws.plans(limit=1)["name"]) == ["of others"]
    assert list(ws.savings(name="ca")["name"]) == ["cached"]
    assert list(ws.savings("route", status="applied")["name"].unique()) == ["plain"]


def test_latencies_are_those_of_the_result(ws: Workspace) -> None:
    run = run_of(ws, "plain")
    view = ws.latencies(run.plan_id)
    assert view["then"].sum() == view["now"].sum() == run.result.sample_size
    then = sorted(row["latency_ms"] for row in log())
    assert [
        ms for ms, count in zip(view["latency_ms"], view["then"], strict=True) for _ in range(count)
    ] == then
    median = view[view["now"].cumsum() > run.result.sample_size // 2]["latency_ms"].iloc[0]
    whole = run.result.aggregates
    assert median == whole.p50_latency_ms_projected
    ranks = [int(q * (len(then) - 1) + 0.5) for q in (0.5, 0.95)]
    assert [whole.p50_latency_ms_actual, whole.p95_latency_ms_actual] == [
        then[rank] for rank in ranks
    ]
    card = repr(ws.show(run.plan_id))
    assert (
        f"{whole.p95_latency_ms_projected:,.0f} ms, {whole.p95_latency_ms_actual:,.0f} ms as logged"
        in card
    )
    assert re.search(r"chat +gpt-4o-mini +\d", card)
    with pytest.raises(ttplan.InputError, match="no longer has the 50 requests"):
        ws.latencies(run_of(ws, "of others").plan_id)
