"""After apply, in the workspace and the CLI: preview, revert, history, drift, repair, failures."""

from __future__ import annotations

import io
import json
import re
import shutil
from datetime import datetime, timedelta
from math import nan
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import duckdb
import pytest
from typer.main import get_command

import ttplan
from tests.audit.chains import KEY
from tests.cli.support import check_error
from tests.display.test_cards import HOSTILE, Tags
from tests.logs.test_reader import numbered, write
from tests.paths import DOCS
from tests.support import plans
from tests.workspace.test_workspace import NOW, content, opened
from ttplan import views
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE
from ttplan.cli.entrypoint import run
from ttplan.cli.options import app
from ttplan.display.plan import Plan
from ttplan.display.routes import DriftCard, PreviewCard
from ttplan.history.compare import route_change
from ttplan.model.plan import PlanConfig
from ttplan.model.results.changes import Preview, RouteChange, StaleRoute
from ttplan.model.results.drift import Drift, DriftProblem, RouteDrift
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.model.stored_plan import LiveRoute
from ttplan.workspace import Workspace


def route(name: str, target: str = "gpt-4o-mini", **changes: Any) -> ProposedRoute:
    return plans.named(
        name, when=RouteConditions(), then=RouteAction(target_model=target), **changes
    )


def opened_later(path: Path) -> Workspace:
    """The workspace of the prepared store; its clock begins after the store was prepared."""
    moments = (NOW + timedelta(minutes=n) for n in range(100, 10**6))
    return opened(path, clock=lambda: next(moments), new_id=uuid4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 300 requests, and a plan that is live with routes a and bb."""
    folder = tmp_path_factory.mktemp("prepared")
    log = write(folder / "log.jsonl", numbered(300, tag="chat", latency_ms=900))
    moments = (NOW + timedelta(minutes=n) for n in range(100))
    made = opened(folder / "s.duckdb", clock=lambda: next(moments))
    made.import_logs(log)
    made.apply(made.plan([route("a"), route("bb")], name="first"))
    return folder / "s.duckdb"


@pytest.fixture
def ws(prepared: Path, tmp_path: Path) -> Workspace:
    """The workspace of a copy of the prepared store."""
    return opened_later(Path(shutil.copy(prepared, tmp_path)))


def damage(tmp_path: Path, *statements: str) -> None:
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


# --- the workspace ------------------------------------------------------------


def test_the_life_of_two_plans(ws: Workspace, tmp_path: Path) -> None:
    first_state = ws.routes()
    plan = ws.plan([route("a", "gpt-4o", priority=5), route("bb"), route("ccc")], name="second")
    preview = ws.preview(plan).result
    assert [(change.name, change.kind) for change in preview.changes] == [
        ("a", "replaced"),
        ("bb", "same"),
        ("ccc", "new"),
    ]
    assert [part.field for part in preview.changes[0].fields] == ["priority", "then.target_model"]
    assert (preview.untouched, preview.stale, preview.computed_against) == (0, (), preview.live_now)
    ws.apply(plan, actor=ttplan.User(UUID(int=7)))
    between = ws.routes()["applied_at"].max().to_pydatetime()
    dry = ws.preview_revert(plan).result
    assert [(change.name, change.kind) for change in dry.changes] == [
        ("a", "replaced"),
        ("bb", "same"),
        ("ccc", "removed"),
    ]
    assert dry.changes[0].after is not None
    assert dry.changes[0].after.route == route("a")
    entry = ws.revert(plan, actor=ttplan.System())
    assert (entry.event, entry.actor) == ("plan.reverted", ttplan.System())
    assert ws.routes().equals(first_state)
    assert sorted(ws.routes(at=between)["name"]) == ["a", "bb", "ccc"]
    assert ws.show(plan.plan_id).status == "reverted"
    assert ws.drift().ok
    history = ws.route_history("a")
    assert {name: str(kind) for name, kind in history.dtypes.items()} == views.ROUTE_HISTORY
    assert list(history["event"]) == ["plan.applied", "plan.applied", "plan.reverted"]
    assert list(history["plan"]) == ["first", "second", "second"]
    assert list(ws.route_history("ccc")["live"]) == [True, False]
    assert ws.verify(public_key=KEY.public_key).verdict == "verified"


def test_a_plan_remembers_what_was_live_when_it_was_computed(ws: Workspace) -> None:
    early = ws.plan([route("dddd")], name="early")
    ws.apply(ws.plan([route("a", "gpt-4o")], name="second"))
    shown = ws.preview(early)
    assert [route.name for route in shown.result.stale] == ["a"]
    assert shown.result.computed_against != shown.result.live_now
    assert "computed against other live routes" in repr(shown)
    with pytest.raises(ttplan.StalePlan, match="'a' was replaced by applying plan"):
        ws.apply(early)
    assert ws.apply(early, allow_stale=True).payload["allowed_stale"] is True
    assert "only a projected plan can be applied" in repr(ws.preview(early))


def test_drift_is_found_and_repaired_through_the_workspace(ws: Workspace, tmp_path: Path) -> None:
    assert ws.repair() is None
    damage(tmp_path, "UPDATE routes SET priority = 99 WHERE name = 'a'")
    assert not ws.drift().ok
    entry = ws.repair(actor=ttplan.User(UUID(int=7)))
    assert entry is not None
    assert entry.payload["edited"] == 1
    assert ws.drift(public_key=KEY.public_key.hex).result.chain == "verified"
    assert ws.drift().result.chain == "consistent with its own key"


def test_drift_works_without_a_key_and_on_a_new_store(ws: Workspace, tmp_path: Path) -> None:
    lost = opened(tmp_path / "s.duckdb", key=None, key_file=tmp_path / "lost.pem")
    assert lost.drift().result.chain == "not verified: there is no key"
    empty = opened(tmp_path / "new.duckdb")
    assert empty.drift().ok
    assert empty.repair() is None
    assert len(empty.routes(at=NOW)) == 0


# --- failed plans -------------------------------------------------------------


def test_a_replay_that_raises_leaves_a_failed_plan(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: object, **__: object) -> None:
        raise duckdb.OutOfMemoryException("could not allocate\nand more")

    with monkeypatch.context() as patch:
        patch.setattr("ttplan.operations.plans.replay.checked_replay", breaking)
        with pytest.raises(
            ttplan.ReplayFailed, match="OutOfMemoryException: could not allocate; it is stored as"
        ) as caught:
            ws.plan([route("a")], name="too much")
    assert (caught.value.kept, caught.value.exit_code) == (True, 3)
    plan = ws.show(caught.value.plan_id)
    assert (plan.status, plan.run.failure) == ("failed", "OutOfMemoryException: could not allocate")
    assert plan.result.proposed_routes == (route("a"),)
    before = content(tmp_path / "s.duckdb")
    for allow_stale in (False, True):
        with pytest.raises(ttplan.InvalidState, match="is 'failed'"):
            ws.apply(plan, allow_stale=allow_stale)
    with pytest.raises(ttplan.InvalidState):
        ws.revert(plan)
    assert content(tmp_path / "s.duckdb") == before
    for shown in (repr(plan), plan._repr_html_()):
        assert "OutOfMemoryException: could not allocate" in shown
        assert "saves" not in shown
    row = ws.plans().iloc[-1]
    assert row["status"] == "failed"
    assert (
        row[["requests", "savings_usd", "savings_usd_lo", "change_vs_actual_usd", "caveats"]]
        .isna()
        .all()
    )
    assert list(ws.savings()["name"].unique()) == ["first"]
    assert ws.drift().ok


def test_an_unusable_logged_value_leaves_a_failed_plan(ws: Workspace, tmp_path: Path) -> None:
    rows = [
        row | {"ts": NOW + timedelta(seconds=n), "embedding": [nan, 1.0]}
        for n, row in enumerate(numbered(5))
    ]
    log = write(tmp_path / "bad.parquet", rows)
    config = PlanConfig(l2_ttl_seconds=900)
    with pytest.raises(
        ttplan.DataError, match="its embedding has a number that is missing, not finite"
    ):
        ws.plan([route("a")], name="bad embeddings", requests=log, config=config)
    run = ws.show(ws.plans()["plan_id"].iloc[-1]).run
    full = config.model_copy(update={"projection": "full", "cluster": "auto"})
    assert (run.status, run.name, run.config) == ("failed", "bad embeddings", full)
    assert run.failure is not None
    assert run.failure.startswith("request 00000000-0000-0000-0000-00000000000")


def test_a_failure_that_cannot_be_stored_is_reported(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: object, **__: object) -> None:
        raise MemoryError

    def full(*_: object, **__: object) -> None:
        raise ttplan.StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("ttplan.operations.plans.replay.checked_replay", breaking)
        patch.setattr("ttplan.store.duckdb.snapshot.DuckDBTransaction.add_plan", full)
        with pytest.raises(
            ttplan.ReplayFailed,
            match="failed: MemoryError; and the disk is full; nothing was written",
        ) as caught:
            ws.plan([route("a")], name="p")
    assert caught.value.kept is False
    assert list(ws.plans()["name"]) == ["first"]


def test_an_interrupt_and_a_mistake_leave_no_row(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(tmp_path / "s.duckdb")
    with pytest.raises(ttplan.InputError, match="no such file"):
        ws.plan(tmp_path / "misspelt.yaml", name="p")

    def refusing(*_: object, **__: object) -> None:
        raise ttplan.InputError("a mistake")

    monkeypatch.setattr("ttplan.operations.plans.replay.checked_replay", refusing)
    with pytest.raises(ttplan.InputError, match="a mistake"):
        ws.plan([route("a")], name="p")
    assert content(tmp_path / "s.duckdb") == before


# --- cards --------------------------------------------------------------------


def hostile_preview(action: str = "apply") -> Preview:
    old, new = (
        plans.route(1, name=HOSTILE),
        plans.route(1, name=HOSTILE, priority=9, then=RouteAction(target_model=HOSTILE * 4)),
    )
    live = LiveRoute(route=old, plan_id=UUID(int=1), applied_at=NOW)
    changes: list[RouteChange] = [
        route_change(HOSTILE, live, live.model_copy(update={"route": new})),
        route_change("long " * 40, None, live),
        route_change("gone", live, None),
        route_change("same", live, live),
    ]
    fields = {
        "plan_id": UUID(int=2),
        "plan_name": HOSTILE + "\n" + "n" * 90,
        "status": "projected",
        "live_now": "ab" * 32,
    }
    stale = (StaleRoute(name=HOSTILE * 9, how="added", plan_id=None),)
    return Preview.model_validate(
        fields | {"action": action, "changes": changes, "untouched": 1, "stale": stale}
    )


def hostile_drift() -> Drift:
    live = LiveRoute(route=plans.route(1, name=HOSTILE), plan_id=UUID(int=1), applied_at=NOW)
    evil = live.model_copy(
        update={"route": plans.route(1, name=HOSTILE, then=RouteAction(target_model=HOSTILE * 5))}
    )
    rows = (
        RouteDrift(
            name=HOSTILE,
            kind="edited",
            fields=("then.target_model", "applied_at"),
            expected=live,
            found=evil,
        ),
        RouteDrift(name="n" * 90, kind="foreign", unreadable=HOSTILE * 4),
        RouteDrift(name="gone", kind="missing", expected=live),
    )
    return Drift(
        entries=1,
        live=2,
        chain="verified",
        routes=rows,
        problems=(DriftProblem(message=HOSTILE * 5),),
    )


@pytest.mark.parametrize(
    "card",
    [
        PreviewCard(hostile_preview()),
        PreviewCard(hostile_preview("revert")),
        DriftCard(hostile_drift()),
    ],
)
def test_cards_fit_80_columns_and_escape_what_comes_from_outside(
    card: PreviewCard | DriftCard,
) -> None:
    assert max(len(line) for line in repr(card).splitlines()) <= 80
    page = card._repr_html_()
    parsed = Tags(page)
    assert "img" not in parsed.tags
    assert not {name for name in parsed.attributes if name.startswith("on")}
    assert "&lt;img src=x" in page
    assert "http" not in page


def test_a_failed_plan_s_card_is_narrow_and_escaped() -> None:
    plan = Plan(plans.run(1, status="failed", name=HOSTILE, failure=HOSTILE * 6))
    assert max(len(line) for line in repr(plan).splitlines()) <= 80
    assert "img" not in Tags(plan._repr_html_()).tags
    assert "no reason was recorded" in repr(Plan(plans.run(1, status="failed")))


def test_a_preview_says_what_is_new_replaced_and_the_same() -> None:
    text = repr(PreviewCard(hostile_preview()))
    assert "~  replaced  <img src=x" in text
    assert "priority: 1 → 9" in text
    assert "=  the same  same" in text
    assert "1 new, 1 replaced, 1 removed, 1 the same; 1 other live route stays as it is" in text
    assert "1 removed, 1 put back, 1 back, 1 the same" in repr(
        PreviewCard(hostile_preview("revert"))
    )
    none = Preview(
        action="apply",
        plan_id=UUID(int=1),
        plan_name="p",
        status="projected",
        changes=(),
        untouched=2,
        live_now="0" * 64,
    )
    assert "no routes; 2 other live routes stay as they are" in repr(PreviewCard(none))


def test_drift_says_what_was_signed_for_and_what_was_found() -> None:
    text = repr(DriftCard(hostile_drift()))
    assert "DRIFT: 3 routes differ from what was signed" in text
    assert "then.target_model: signed gpt-4o-mini, found <img" in " ".join(text.split())
    assert "missing gone was signed for, but is not live" in " ".join(text.split())
    assert "1 entry followed; the chain: verified" in text


# --- the command line ---------------------------------------------------------


@pytest.fixture
def cli(
    ws: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, str]:
    """The ids of two plans in the store of `ws`: the first is live, the second projected."""
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    monkeypatch.setenv("COLUMNS", "120")
    second = ws.plan([route("a", "gpt-4o", priority=5), route("ccc")], name="second")
    capsys.readouterr()
    return {"first": ws.plans()["plan_id"][0], "second": str(second.plan_id)}


def run_text(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_commands_tell_the_story(
    cli: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "1 new, 1 replaced; 1 other live route stays" in run_text(
        ["preview", cli["second"]], capsys
    )
    assert "applied: second, 2 routes are live" in run_text(
        ["apply", cli["second"], "--yes"], capsys
    )
    check_error(["revert", cli["first"], "--yes"], 1, "revert that plan first", capsys)
    before = content(tmp_path / "s.duckdb")
    assert "1 removed, 1 put back" in run_text(["revert", cli["second"], "--dry-run"], capsys)
    assert content(tmp_path / "s.duckdb") == before
    assert "reverted: second" in run_text(["revert", cli["second"], "--yes", "--system"], capsys)
    assert "NO DRIFT: 2 live routes match what was signed" in run_text(["drift"], capsys)
    assert "the chain: verified" in run_text(["drift", "--key-hex", KEY.public_key.hex], capsys)
    assert "plan.reverted" in run_text(["history", "a"], capsys)
    assert "no routes were live at 2020" in run_text(
        ["routes", "--at", "2020-01-01T00:00:00Z"], capsys
    )
    assert "routes live at 2030" in run_text(["routes", "--at", "2030-01-01T00:00:00Z"], capsys)
    check_error(["routes", "--at", "yesterday"], 2, "--at is 'yesterday'", capsys)
    check_error(["history", "zzz"], 2, "no route 'zzz' was ever live", capsys)
    check_error(["revert", cli["second"], "--yes"], 2, "is 'reverted'", capsys)
    check_error(["preview", "99999999"], 2, "no plan", capsys)


def test_a_route_is_renamed_in_the_file_of_the_live_ones(
    cli: dict[str, str], ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = run_text(["routes", "--yaml"], capsys)
    assert written.startswith(
        "# A route is known by its id: keep that, and change the name, to rename it."
    )
    file = tmp_path / "live.yaml"
    file.write_text(written)
    assert ws.preview(ws.plan(file, name="as it is")).result.changes[0].kind == "same"
    file.write_text(written.replace("name: bb", "name: better"))
    plan = str(ws.plan(file, name="renamed").plan_id)
    shown = run_text(["preview", plan], capsys)
    assert ">  renamed   better  to" in shown
    assert "name: bb → better" in shown
    assert "1 renamed, 1 the same" in shown
    run_text(["apply", plan, "--yes"], capsys)
    renames = json.loads(run_text(["history", "better", "--json"], capsys))
    assert [(row["name"], row["live"]) for row in renames] == [("bb", True), ("better", True)]
    assert "better" in run_text(["history", "bb"], capsys)
    assert run_text(["drift"], capsys).startswith("NO DRIFT: 2 live routes")
    first = json.loads(run_text(["history", "bb", "--json"], capsys))[0]["since"]
    assert run_text(["routes", "--yaml", "--at", first], capsys) == written
    check_error(["routes", "--yaml", "--json"], 2, "give only one of --yaml and --json", capsys)


def test_a_route_without_an_id_is_matched_by_its_old_name(ws: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("routes: [{name: short chat, priority: 1, then: {target_model: gpt-4o-mini}}]")
    ws.apply(ws.plan(file, name="one"))
    file.write_text(
        "routes: [{id: short chat, name: chat, priority: 1, then: {target_model: gpt-4o-mini}}]"
    )
    plan = ws.plan(file, name="two")
    assert [(change.kind, change.name) for change in ws.preview(plan).result.changes] == [
        ("renamed", "chat")
    ]
    assert ws.apply(plan).payload["renamed"] == 1
    assert list(ws.route_history("chat")["name"]) == ["short chat", "chat"]


def test_stale_on_the_command_line(
    cli: dict[str, str], ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    ws.apply(ws.plan([route("bb", "gpt-4o")], name="third"))
    check_error(
        ["apply", cli["second"], "--yes"],
        1,
        "was computed against other live routes: route 'bb' was replaced",
        capsys,
    )
    out = json.loads(run_text(["apply", cli["second"], "--yes", "--allow-stale", "--json"], capsys))
    assert out["payload"]["allowed_stale"] is True


def test_drift_exits_1_and_repair_asks(
    cli: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "nothing to repair" in run_text(["repair"], capsys)
    damage(tmp_path, "DELETE FROM routes WHERE name = 'a'")
    assert "missing  a  was signed for, but is not live" in run_text(["drift"], capsys, code=1)
    assert (
        json.loads(run_text(["drift", "--json"], capsys, code=1))["routes"][0]["kind"] == "missing"
    )
    before = content(tmp_path / "s.duckdb")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["repair"]) == 130
    assert "Restore the signed routes?" in capsys.readouterr().out
    check_error(["repair", "--json"], 2, "add --yes", capsys)
    assert content(tmp_path / "s.duckdb") == before
    assert "repaired: 0 edited, 1 missing, 0 foreign" in run_text(["repair", "--yes"], capsys)
    assert "NO DRIFT" in run_text(["drift"], capsys)
    damage(tmp_path, "DELETE FROM audit_entries WHERE seq = 0")
    check_error(["repair", "--yes"], 1, "so nothing was repaired", capsys)


def test_asking_before_a_revert(
    cli: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = content(tmp_path / "s.duckdb")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["revert", cli["first"]]) == 130
    out = capsys.readouterr().out
    assert "2 removed; 0 other live routes stay as they are" in out
    assert "Revert this plan?" in out
    check_error(["revert", cli["first"], "--json"], 2, "add --yes", capsys)
    assert content(tmp_path / "s.duckdb") == before


def test_json_is_one_document(cli: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        json.loads(run_text(["preview", cli["second"], "--json"], capsys))["changes"][0]["kind"]
        == "replaced"
    )
    for arguments in (
        ["apply", cli["second"], "--yes"],
        ["revert", cli["second"], "--dry-run"],
        ["revert", cli["second"], "--yes"],
        ["history", "a"],
        ["routes", "--at", "2030-01-01T00:00:00Z"],
        ["drift"],
        ["repair", "--yes"],
    ):
        json.loads(run_text([*arguments, "--json"], capsys))


def test_a_failed_replay_exits_3_and_its_plan_shows_no_figures(
    cli: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaking(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    routes = tmp_path / "routes.yaml"
    routes.write_text("routes: [{name: a, priority: 1, then: {target_model: gpt-4o-mini}}]")
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.operations.plans.replay.checked_replay", breaking)
        check_error(
            ["plan", str(routes), "--name", "broken"],
            3,
            "RuntimeError: a defect; it is stored as a failed plan",
            capsys,
        )
    failed = next(
        row for row in json.loads(run_text(["plans", "--json"], capsys)) if row["name"] == "broken"
    )
    assert (failed["status"], failed["savings_usd"]) == ("failed", None)
    assert "The replay failed: RuntimeError: a defect" in run_text(
        ["show", failed["plan_id"]], capsys
    )
    shown = json.loads(run_text(["show", failed["plan_id"], "--json"], capsys))
    assert shown["failure"] == "RuntimeError: a defect"
    assert "result" not in shown
    check_error(["apply", failed["plan_id"], "--yes"], 2, "is 'failed'", capsys)


def test_a_moment_without_a_zone_is_refused(ws: Workspace) -> None:
    with pytest.raises(ttplan.InputError, match="expected a timezone-aware datetime"):
        ws.routes(at=datetime(2026, 5, 1))


def test_the_runbook_names_existing_commands_and_options() -> None:
    text = (DOCS / "operations.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = re.findall(r"`ttplan ([a-z-]+)([^`]*)`", text)
    assert {
        "preview",
        "apply",
        "revert",
        "routes",
        "route-history",
        "drift",
        "repair",
        "backup",
        "health",
    } <= {command for command, _ in named}
    for command, rest in named:
        options = {option for parameter in commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, command
