"""Monitors: Ctrl-C ends a replay at once without traces, and a bar shows its progress."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import ibis
import pytest
from rich.console import Console

from tests.logs.test_reader import numbered, write
from tests.support import universe
from tests.workspace.test_workspace import ROUTES, opened
from ttplan.cli.entrypoint import run
from ttplan.engine.replay import replay_table
from ttplan.engine.replay_spec import pass_names
from ttplan.engine.rows import to_table
from ttplan.model.errors import Cancelled, InputError
from ttplan.model.plan import PlanConfig
from ttplan.operations.plans.replay import CANCELLED
from ttplan.util.monitor import Monitor, report_wait, show_progress

LONG = "SELECT sum(hash(a.i * b.i) % 7) AS x FROM range(1000000) AS a(i), range(1000000) AS b(i)"
CONFIGS = [PlanConfig(), PlanConfig(l1_ttl_seconds=60)]


def tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    }


def interrupt_soon() -> None:
    """Send Ctrl-C soon. Only for work that does not end earlier, or a later test is interrupted."""
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()


def run_long_query(connection: duckdb.DuckDBPyConnection) -> object:
    interrupt_soon()
    return connection.sql(LONG).to_arrow_table()


def do_nothing() -> None:
    return None


def test_run_returns_the_result_or_raises_the_error() -> None:
    assert Monitor().run(lambda: 7, do_nothing) == 7

    def fail() -> int:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        Monitor().run(fail, do_nothing)


def test_ctrl_c_ends_a_query_and_keeps_the_connection() -> None:
    connection = duckdb.connect()
    with pytest.raises(KeyboardInterrupt):
        Monitor().run(lambda: run_long_query(connection), connection.interrupt)
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert not [thread for thread in threading.enumerate() if thread.name == "ttplan-work"]


def test_ctrl_c_between_queries_ends_work_at_its_next_check() -> None:
    monitor = Monitor()
    steps = []

    def work() -> None:
        interrupt_soon()
        while True:
            monitor.check()
            steps.append(1)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        monitor.run(work, do_nothing)
    assert steps


def test_a_cancelled_monitor_ends_work_at_every_report() -> None:
    counts: list[tuple[int, int | None]] = []
    monitor = Monitor(total=3, on_count=lambda done, total: counts.append((done, total)))
    monitor.count(1)
    monitor.cancel()
    for report in (
        monitor.check,
        lambda: monitor.count(2),
        lambda: monitor.report("pass"),
        lambda: monitor.wait("process 1"),
    ):
        with pytest.raises(Cancelled):
            report()
    assert counts == [(1, 3)]


def test_waits_reach_the_monitor_of_this_thread() -> None:
    holders: list[str] = []
    report_wait("before")
    with Monitor(on_wait=holders.append).watch_waits():
        report_wait("process 71")
    with Monitor(on_wait=holders.append, wait_grace=60).watch_waits():
        report_wait("too early")
    assert holders == ["process 71"]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_replay_reports_its_passes_in_order(config: PlanConfig) -> None:
    plan = universe.plan(universe.log(300, seed=1))
    reports: list[tuple[str, float]] = []
    options = {"org_id": plan.org_id, "progress": lambda name, share: reports.append((name, share))}
    replay_table(to_table(plan.requests), plan.proposed_routes, plan.pricing, config, **options)  # type: ignore[arg-type]
    assert list(dict.fromkeys(name for name, _ in reports)) == pass_names(config)
    assert all(0 <= share <= 1 for _, share in reports)
    if config.l1_ttl_seconds is not None:
        assert ("looking up cache keys", 1.0) in reports


@pytest.mark.parametrize("last", pass_names(CONFIGS[1]))
def test_a_replay_cancelled_in_any_pass_leaves_no_table(last: str) -> None:
    plan = universe.plan(universe.log(300, seed=1))
    table = to_table(plan.requests)
    connection = table.get_backend().con
    before = tables(connection)

    def cancel(name: str, _share: float) -> None:
        if name == last:
            raise Cancelled

    with pytest.raises(Cancelled):
        replay_table(
            table,
            plan.proposed_routes,
            plan.pricing,
            CONFIGS[1],
            org_id=plan.org_id,
            progress=cancel,
        )
    assert tables(connection) == before
    assert (
        ibis.duckdb.from_connection(connection).table("requests").count().to_pyarrow().as_py()
        == 300
    )


def test_an_interrupted_plan_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "a.duckdb"
    workspace = opened(store)
    workspace.import_logs(write(tmp_path / "log.jsonl", numbered(300, tag="chat")))

    def long(table: ibis.Table, *_: object, **__: object) -> None:
        run_long_query(table.get_backend().con)

    monkeypatch.setattr("ttplan.operations.plans.replay.checked_replay", long)
    with pytest.raises(KeyboardInterrupt, match=CANCELLED):
        workspace.plan(ROUTES, name="x")
    assert run(["plan", str(ROUTES), "--name", "x", "--store", str(store)]) == 130
    assert capsys.readouterr().err.strip() == f"ttplan: {CANCELLED}"
    assert workspace.plans().empty
    monkeypatch.undo()
    assert workspace.plan(ROUTES, name="x").status == "projected"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file that takes seconds to replay with a cache."""
    path = tmp_path_factory.mktemp("big") / "big.parquet"
    duckdb.connect().sql(
        "SELECT uuid() AS id, TIMESTAMPTZ '2026-05-01 00:00:00+00' + to_microseconds(i * "
        "100000) AS ts, 'openai' AS provider, "
        "'gpt-4o' AS model, 1 + i % 5000 AS input_tokens, i % 400 AS output_tokens, "
        "CAST(0.01 AS DECIMAL(38, 12)) AS cost_usd, "
        "i % 3000 AS latency_ms, 'chat' AS tag FROM range(CAST($count AS BIGINT)) AS n(i)",
        params={"count": 5_000_000},
    ).write_parquet(str(path))
    return path


@pytest.fixture(scope="module")
def big_store(big: Path) -> Path:
    """A store that holds those requests."""
    path = big.with_name("big.duckdb")
    workspace = opened(path)
    with workspace.store.transaction() as tx:
        tx.set_org_id(workspace._context.new_id())
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "INSERT INTO requests BY NAME SELECT *, (SELECT value::UUID FROM settings) AS "
            "org_id, 0 AS cached_tokens, "
            "cost_usd AS baseline_cost_usd, FALSE AS cached, 200 AS status FROM "
            "read_parquet($path)",
            {"path": str(big)},
        )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 3.0])
@pytest.mark.parametrize("in_place", [True, False])
def test_ctrl_c_at_any_time_leaves_the_store_unchanged(
    tmp_path: Path, big: Path, request: pytest.FixtureRequest, seconds: float, in_place: bool
) -> None:
    store, temporary = tmp_path / "a.duckdb", tmp_path / "tmp"
    temporary.mkdir()
    if not in_place:
        shutil.copy(request.getfixturevalue("big_store"), store)
    workspace = opened(store)
    script = (
        "from ttplan.cli.entrypoint import main; import ttplan.model.plan as m, "
        "ttplan.gateways.plan_file as f; read = f.read_plan_file; "
        "import sys, ttplan.operations.plans.replay as w; w.read_plan_file = lambda p: "
        "(print('begun', file=sys.stderr, flush=True), "
        "(read(p).routes, m.PlanConfig(l1_ttl_seconds=300), ()))[1]; main()"
    )
    arguments = ["plan", str(ROUTES), "--name", "x", "--store", str(store)]
    arguments += ["--requests", str(big), "--memory-limit", "500MB"] if in_place else []
    before = sorted(os.listdir(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    assert child.stderr is not None
    assert child.stderr.readline() == "begun\n"
    time.sleep(seconds)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, "")
    # Before the first query there is nothing to cancel.
    assert err.strip().splitlines()[-1] in (
        f"ttplan: {CANCELLED}",
        "ttplan: stopped; nothing was half-written",
    )
    assert "Traceback" not in err
    assert list(temporary.iterdir()) == []
    assert sorted(os.listdir(tmp_path)) == before
    assert workspace.plans().empty
    with workspace.store.transaction() as tx:  # no lock is held
        assert tx.plans(workspace._context.new_id()) == []


def test_a_bar_shows_each_pass_and_never_moves_back(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda stderr: Console(file=out, force_terminal=True, width=100),
    )
    shares = iter([0.5, 0.2, None])
    with show_progress(
        "replaying", True, passes=["first", "second"], poll_share=lambda: next(shares, None)
    ) as monitor:
        monitor.report("first")
        time.sleep(0.9)
        monitor.report("second")
        monitor.report("second", 1.0)
        time.sleep(0.3)
    text = out.getvalue()
    assert "replaying: first" in text
    assert "25%" in text
    assert "10%" not in text
    assert "100%" in text


def test_no_bar_is_drawn_if_none_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("replaying", False, passes=["first"], poll_share=lambda: 0.5) as monitor:
        monitor.report("first")
    assert capsys.readouterr() == ("", "")
