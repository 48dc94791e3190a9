"""An interrupt ends a replay at once and leaves nothing behind; a bar shows how far it is."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import ibis
import pytest
from rich.console import Console

from tests.paths import DATA
from tests.support import universe
from tests.workspace.test_workspace import ROUTES, opened
from ttplan.cli.entrypoint import run
from ttplan.engine.replay import replay_table
from ttplan.engine.replay_spec import pass_names
from ttplan.engine.rows import to_table
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig
from ttplan.operations.plans.replay import CANCELLED
from ttplan.util import interrupt, progress

LONG = "SELECT sum(hash(a.i * b.i) % 7) AS x FROM range(1000000) AS a(i), range(1000000) AS b(i)"
CONFIGS = [PlanConfig(), PlanConfig(l1_ttl_seconds=60)]


def tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    }


def interrupt_soon() -> None:
    """Ctrl-C, soon. Only work that does not end by itself may call this: whoever comes after it would be interrupted."""
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()


def long_query(connection: duckdb.DuckDBPyConnection) -> object:
    interrupt_soon()
    return connection.sql(LONG).to_arrow_table()


def test_work_returns_what_it_returns_and_raises_what_it_raises() -> None:
    assert interrupt.run(lambda check: 7, lambda: None) == 7

    def fail(check: Callable[[], None]) -> int:
        check()
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        interrupt.run(fail, lambda: None)


def test_an_interrupt_ends_a_query_and_the_connection_lives_on() -> None:
    connection = duckdb.connect()
    with pytest.raises(KeyboardInterrupt):
        interrupt.run(lambda check: long_query(connection), connection.interrupt)
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert not [thread for thread in threading.enumerate() if thread.name == "ttplan-work"]


def test_an_interrupt_between_queries_ends_the_work_at_its_next_step() -> None:
    steps = []

    def work(check: Callable[[], None]) -> None:
        interrupt_soon()
        while True:
            check()
            steps.append(1)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        interrupt.run(work, lambda: None)
    assert steps


@pytest.mark.parametrize("config", CONFIGS)
def test_a_replay_reports_its_passes_in_order(config: PlanConfig) -> None:
    plan = universe.plan(universe.log(300, seed=1))
    told: list[tuple[str, float]] = []
    options = {"org_id": plan.org_id, "progress": lambda name, share: told.append((name, share))}
    replay_table(to_table(plan.requests), plan.proposed_routes, plan.pricing, config, **options)  # type: ignore[arg-type]
    assert list(dict.fromkeys(name for name, _ in told)) == pass_names(config)
    assert all(0 <= share <= 1 for _, share in told)
    if config.l1_ttl_seconds is not None:
        assert ("looking up cache keys", 1.0) in told


@pytest.mark.parametrize("last", pass_names(CONFIGS[1]))
def test_a_replay_that_is_ended_in_any_pass_leaves_no_table(last: str) -> None:
    plan = universe.plan(universe.log(300, seed=1))
    table = to_table(plan.requests)
    connection = table.get_backend().con
    before = tables(connection)

    def end(name: str, _share: float) -> None:
        if name == last:
            raise interrupt.Stopped

    with pytest.raises(interrupt.Stopped):
        replay_table(
            table, plan.proposed_routes, plan.pricing, CONFIGS[1], org_id=plan.org_id, progress=end
        )
    assert tables(connection) == before
    assert (
        ibis.duckdb.from_connection(connection).table("requests").count().to_pyarrow().as_py()
        == 300
    )


def test_an_interrupted_plan_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "a.duckdb"
    workspace = opened(store)
    workspace.import_logs(DATA / "requests.parquet")

    def long(table: ibis.Table, *_: object, **__: object) -> None:
        long_query(table.get_backend().con)

    monkeypatch.setattr("ttplan.operations.plans.replay.replay_table", long)
    with pytest.raises(KeyboardInterrupt, match=CANCELLED):
        workspace.plan(ROUTES, name="x")
    assert run(["plan", str(ROUTES), "--name", "x", "--store", str(store)]) == 130
    assert capsys.readouterr().err.strip() == f"ttplan: {CANCELLED}"
    assert workspace.plan_runs() == []
    monkeypatch.undo()
    assert workspace.plan(ROUTES, name="x").status == "projected"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file that takes seconds to replay with a cache."""
    path = tmp_path_factory.mktemp("big") / "big.parquet"
    duckdb.connect().sql(
        "SELECT uuid() AS id, TIMESTAMPTZ '2026-05-01 00:00:00+00' + to_microseconds(i * 100000) AS ts, 'openai' AS provider, "
        "'gpt-4o' AS model, 1 + i % 5000 AS input_tokens, i % 400 AS output_tokens, CAST(0.01 AS DECIMAL(38, 12)) AS cost_usd, "
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
        tx.set_org_id(workspace._new_id())
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "INSERT INTO requests BY NAME SELECT *, (SELECT value::UUID FROM settings) AS org_id, 0 AS cached_tokens, "
            "cost_usd AS baseline_cost_usd, FALSE AS cached, 200 AS status FROM read_parquet($path)",
            {"path": str(big)},
        )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.5, 4.0])
@pytest.mark.parametrize("in_place", [True, False])
def test_ctrl_c_at_any_moment_leaves_the_store_as_it_was(
    tmp_path: Path, big: Path, request: pytest.FixtureRequest, seconds: float, in_place: bool
) -> None:
    store, temporary = tmp_path / "a.duckdb", tmp_path / "tmp"
    temporary.mkdir()
    if not in_place:
        shutil.copy(request.getfixturevalue("big_store"), store)
    workspace = opened(store)
    script = (
        "from ttplan.cli.entrypoint import main; import ttplan.model.plan as m, ttplan.gateways.plan_file as f; read = f.read_plan_file; "
        "import sys, ttplan.operations.plans.replay as w; w.read_plan_file = lambda p: (print('begun', file=sys.stderr, flush=True), "
        "(read(p).routes, m.PlanConfig(l1_ttl_seconds=300)))[1]; main()"
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
    assert workspace.plan_runs() == []
    with workspace.store.transaction() as tx:  # no lock is held
        assert tx.plans(workspace._new_id()) == []


def test_a_bar_shows_each_pass_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=out, force_terminal=True, width=100)
    )
    shares = iter([0.5, 0.2, None])
    with progress.passing("replaying", ["one", "two"], lambda: next(shares, None), True) as report:
        report("one", 0.0)
        time.sleep(0.9)
        report("two", 0.0)
        report("two", 1.0)
        time.sleep(0.3)
    shown = out.getvalue()
    assert "replaying: one" in shown
    assert "25%" in shown
    assert "10%" not in shown
    assert "100%" in shown


def test_no_bar_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.passing("replaying", ["one"], lambda: 0.5, False) as report:
        report("one", 0.0)
    assert capsys.readouterr() == ("", "")
