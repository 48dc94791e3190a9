"""What only a PostgreSQL store has: URL, schema, organisations, external requests, gateways,
many writers, copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pyarrow.parquet as pq
import pytest

import ttplan
from tests.audit.chains import KEY
from tests.logs.test_reader import numbered, write
from tests.paths import ROOT
from tests.store.test_contract import rows
from tests.support import plans
from tests.support.plan_driver import ORG, PlanDriver, store_state
from tests.support.postgres import TEMPLATE, database, shared_server
from ttplan.cli.entrypoint import run
from ttplan.engine.dialects import fetch
from ttplan.model.errors import InputError, KeyFileError, StoreError
from ttplan.model.policy import Policy
from ttplan.operations.stores.copy import copy_into
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.postgres.migrate import migrate
from ttplan.store.postgres.snapshot import PostgresTransaction
from ttplan.store.postgres.store import PostgresStore
from ttplan.store.schema import Migration, migrations
from ttplan.workspace.open import copy_store

pytestmark = pytest.mark.postgres

OTHER = UUID(int=2)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return database(tmp_path)


@pytest.fixture
def bare() -> str:
    """The URL of an empty database."""
    made = shared_server()
    with psycopg.connect(made.url(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS bare WITH (FORCE)")
        connection.execute("CREATE DATABASE bare")
    return made.url("bare")


def test_a_database_without_a_store_says_how_to_create_one(
    bare: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        StoreError,
        match="has no store yet; its owner creates one with `ttplan migrate`",
    ):
        PostgresStore(bare)
    assert run(["migrate", "--store", bare, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "steps": [step.name for step in migrations("postgres")],
        "roles": False,
    }
    assert run(["migrate", "--store", bare]) == 0
    assert capsys.readouterr().out == "the schema is current\n"
    PostgresStore(bare)


def test_of_two_concurrent_migrations_one_does_the_work(bare: str) -> None:
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(len(migrate(bare).steps))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 0, 0, len(migrations("postgres"))]


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (
        *migrations("postgres"),
        Migration(99, "0099_broken.sql", "SELECT no_such_function()"),
    )
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.store.postgres.migrate.migrations", lambda _: broken)
        with pytest.raises(StoreError, match="no_such_function"):
            migrate(bare)
        with psycopg.connect(bare) as connection:
            assert (
                connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'ttplan'").fetchone()
                is None
            )
        migrate_ok = broken[:-1]
        patch.setattr("ttplan.store.postgres.migrate.migrations", lambda _: migrate_ok)
        migrate(bare)
        patch.setattr("ttplan.store.postgres.migrate.migrations", lambda _: broken)
        with pytest.raises(StoreError, match=r"has an older schema, without 0099_broken\.sql"):
            PostgresStore(bare)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "INSERT INTO ttplan.schema_version VALUES (9999, 'later', now())",
            "schema version 9999, newer than this ttplan's",
        ),
        (
            "UPDATE ttplan.schema_version SET name = 'other'",
            "has a schema `ttplan` that another program created",
        ),
        ("DROP TABLE ttplan.schema_version", "has a schema `ttplan` that another program created"),
    ],
)
def test_another_schema_is_refused_and_left_unchanged(bare: str, change: str, message: str) -> None:
    migrate(bare)
    with psycopg.connect(bare) as connection:
        connection.execute(change.encode())
    for opening in (PostgresStore, migrate):
        with pytest.raises(StoreError, match=message):
            opening(bare)


@pytest.mark.parametrize(
    "bad",
    [
        "postgresql://tester:s3cret@/nowhere?host={folder}",
        "postgresql://tester:s3cret@localhost:1/x",
        "postgresql://tester:s3cret@localhost/x?no_such_option=1",
        "postgresql://tester:s3cret@[::1/x",
        "postgresql://tester:s3@s3cret@localhost/x",
        "postgresql://tester:s3cret@localhost/x?org=7",
    ],
)
def test_an_error_on_opening_does_not_show_the_password(
    bad: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    assert run(["plans", "--store", bad.format(folder=shared_server().folder)]) in (2, 3)
    errors = capsys.readouterr().err
    assert errors.startswith("ttplan: ")
    assert "should not happen" not in errors
    assert "s3" not in errors


def test_a_store_does_not_show_its_password(url: str) -> None:
    store = PostgresStore(url)
    assert "secret" in url
    assert "secret" not in repr([store, store._address, ttplan.open(url), store._session])
    assert store == PostgresStore(url.replace("secret", "other"))
    assert hash(store) == hash(PostgresStore(url))
    assert store != PostgresStore(shared_server().url(TEMPLATE))


def test_a_store_of_one_organisation_hides_the_others(url: str) -> None:
    first, second = (PostgresStore(url, org_id=org) for org in (ORG, OTHER))
    for number, (store, org) in enumerate(((first, ORG), (second, OTHER)), 1):
        with store.transaction() as tx:
            assert tx.org_id() is None
            tx.set_org_id(org)
            tx.add_plan(plans.run(number, org_id=org))
            tx.set_policy(Policy() if org == ORG else None)
            tx.add_requests([rows(7, tag=str(org))], org)  # one id in two organisations
    with second.read() as snapshot:
        assert (snapshot.org_id(), snapshot.plan(UUID(int=1)), snapshot.policy()) == (
            OTHER,
            None,
            None,
        )
        assert (snapshot.request_count(), snapshot.request_orgs()) == (1, [OTHER])
        assert fetch(snapshot.requests())["tag"].to_pylist() == [str(OTHER)]
    with pytest.raises(StoreError, match="belongs to organisation"), second.transaction() as tx:
        tx.set_org_id(ORG)
    with (
        pytest.raises(
            InputError,
            match=r"row 1 belongs to organisation .*001, but this store belongs to .*002",
        ),
        second.transaction() as tx,
    ):
        tx.add_requests([rows(8, org_id=str(ORG))], OTHER)
    with (
        pytest.raises(StoreError, match=r"holds several organisations; say which one"),
        PostgresStore(url).read() as all_of_them,
    ):
        all_of_them.org_id()
    named = ttplan.open(f"{url}&org={OTHER}", key=KEY)
    assert [UUID(plan_id).int for plan_id in named.plans()["plan_id"]] == [2]
    with pytest.raises(InputError, match="expected one of them"):
        PostgresStore(f"{url}&org={OTHER}", org_id=ORG)


def test_a_value_that_postgresql_cannot_store_is_reported(url: str) -> None:
    store = PostgresStore(url)
    with pytest.raises(InputError, match="NUL character"), store.transaction() as tx:
        tx.add_plan(plans.run(1, name="a\x00b"))
    with pytest.raises(InputError, match="NUL character"), store.transaction() as tx:
        tx.add_requests([rows(1, tag="a\x00b")], ORG)
    assert store_state(store).plans == []


def test_requests_may_be_external(url: str, tmp_path: Path) -> None:
    made = ttplan.open(tmp_path / "log.duckdb")
    made.import_logs(write(tmp_path / "log.jsonl", numbered(40)), progress=False)
    with made.store.read() as snapshot:
        pq.write_table(fetch(snapshot.requests()), tmp_path / "requests.parquet")
    opened = ttplan.open(url, org_id=_org(made), key=KEY, requests=tmp_path / "*.parquet")
    plan = opened.plan([plans.route(1)], name="elsewhere", allow_unpriced=True, progress=False)
    assert plan.run.result.sample_size == 40
    assert opened.apply(plan, actor=ttplan.System()).seq == 0
    with opened.store.read() as snapshot:
        assert (snapshot.request_count(), snapshot.request_orgs()) == (40, [_org(made)])
    with pytest.raises(InputError, match="its requests in external files"):
        opened.import_logs(tmp_path / "log.jsonl", progress=False)
    with pytest.raises(InputError, match="are for a store on a server"):
        ttplan.open(tmp_path / "log.duckdb", requests="x")


def _org(workspace: Any) -> UUID:
    with workspace.store.read() as snapshot:
        org_id: UUID = snapshot.org_id()
    return org_id


def test_a_workspace_on_a_server_needs_a_key_from_outside(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, key = write(tmp_path / "log.jsonl", numbered(40)), tmp_path / "key.pem"
    assert run(["import", str(log), "--store", url, "--json"]) == 0
    assert run(["keygen", str(key)]) == 0
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes:\n  - {name: a, priority: 1, then: {target_model: gpt-4o-mini}}\n")
    capsys.readouterr()
    assert run(["plan", str(routes), "--name", "n", "--store", url, "--json"]) == 0
    plan_id = json.loads(capsys.readouterr().out)["plan_id"]
    assert run(["apply", plan_id, "--store", url, "--system", "--yes"]) == 2
    assert "has no signing key" in capsys.readouterr().err
    assert run(["apply", plan_id, "--store", url, "--system", "--yes", "--key-file", str(key)]) == 0
    assert run(["drift", "--store", url]) == 0
    assert run(["backup", str(tmp_path / "x"), "--store", url]) == 2
    assert "`ttplan copy`" in capsys.readouterr().err
    with pytest.raises(KeyFileError):
        ttplan.open(url).current_public_key  # noqa: B018


def test_a_store_copied_there_and_back_has_the_same_hashes(url: str, tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1), plans.route(2))
    driver.live(2, plans.route(3, name="route 1"))
    driver.revert(2)
    driver.project(4, plans.route(4))
    embedding = [1.0, 1e-9, -3.25]
    with driver.store.transaction() as tx:
        tx.set_policy(Policy())
        tx.add_requests(
            [
                rows(1, embedding=embedding, tag="", body='"q"\n\\.\n', cached=True),
                rows(2, source_id="é,"),
            ],
            ORG,
        )
    there = copy_store(path, url, public_key=KEY.public_key.hex)
    assert (there.plans, there.routes, there.entries, there.requests, there.chain) == (
        3,
        2,
        3,
        2,
        "verified",
    )
    back = copy_store(f"{url}&org={ORG}", tmp_path / "back.duckdb", public_key=KEY.public_key.hex)
    assert back == there
    assert (
        store_state(DuckDBStore(tmp_path / "back.duckdb"))
        == store_state(PostgresStore(url))
        == store_state(driver.store)
    )
    with driver.store.read() as old, DuckDBStore(tmp_path / "back.duckdb").read() as new:
        assert new.policy() == old.policy()
        assert fetch(new.requests().order_by("id")) == fetch(old.requests().order_by("id"))
    for target in (url, str(path)):
        with pytest.raises(
            InputError, match=r"not empty: it holds plans, live routes, entries, requests, a policy"
        ):
            copy_store(tmp_path / "back.duckdb", target)
    with pytest.raises(InputError, match="into itself"):
        copy_into(driver.store, driver.store, None, own_key=False)
    with pytest.raises(InputError, match="nothing to copy"):
        copy_store(DuckDBStore(tmp_path / "empty.duckdb").path, tmp_path / "new.duckdb")
    assert not (tmp_path / "new.duckdb").exists()


def test_a_copy_with_a_changed_row_is_not_kept(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.duckdb"
    with DuckDBStore(path).transaction() as tx:
        tx.set_org_id(ORG)
        tx.add_requests(
            [rows(1, body="a", embedding=[1.0]), rows(2, body="b", embedding=[2.0])], ORG
        )
    original = PostgresTransaction.add_requests
    changes = [
        "UPDATE ttplan.requests SET cost_usd = cost_usd + 0.000000000001 WHERE body = 'a'",
        "UPDATE ttplan.requests SET body = CASE body WHEN 'a' THEN 'b' ELSE 'a' END",
        "UPDATE ttplan.requests SET tag = '' WHERE body = 'b'",
        "UPDATE ttplan.requests SET embedding = '{2.0000002}' WHERE body = 'b'",
    ]

    def changing(tx: Any, *arguments: Any) -> Any:
        result = original(tx, *arguments)
        tx._write(changes[0])
        return result

    monkeypatch.setattr(PostgresTransaction, "add_requests", changing)
    while changes:
        with pytest.raises(
            StoreError, match="the copy does not read back the same in requests; it was not kept"
        ):
            copy_store(path, url)
        del changes[0]
    with PostgresStore(url).read() as snapshot:
        assert snapshot.request_count() == 0


def test_plans_of_two_organisations_do_not_wait_for_each_other(url: str) -> None:
    first, second = (PostgresStore(url, org_id=org, lock_timeout=0.2) for org in (ORG, OTHER))
    for number, (store, org) in enumerate(((first, ORG), (second, OTHER)), 1):
        with store.transaction() as tx:
            tx.set_org_id(org)
            tx.add_plan(plans.run(number, org_id=org))
    with first.transaction() as tx:
        tx.set_org_id(ORG)
        tx.add_plan(plans.run(3))
        with second.transaction() as elsewhere:
            elsewhere.set_org_id(OTHER)
            elsewhere.add_plan(plans.run(4, org_id=OTHER))
    with second.read() as snapshot:
        assert len(snapshot.plans(OTHER)) == 2


def test_a_log_without_an_organisation_gets_that_of_the_url(url: str, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", numbered(3))
    workspace = ttplan.open(f"{url}&org={OTHER}", key=KEY)
    assert workspace.import_logs(log, progress=False).added == 3
    with workspace.store.read() as snapshot:
        assert (snapshot.org_id(), snapshot.request_orgs()) == (OTHER, [OTHER])


def test_the_database_refuses_entries_with_a_gap_or_a_fork(url: str) -> None:
    driver = PlanDriver(PostgresStore(url))
    driver.live(1, plans.route(1))
    copied = (
        "INSERT INTO ttplan.audit_entries SELECT org_id, {}, event, logged_at, body, {}, {}, "
        "signature FROM ttplan.audit_entries"
    )
    for seq, prev_hash in (("2", "hash"), ("1", "prev_hash"), ("0", "prev_hash")):
        with (
            pytest.raises(psycopg.Error, match="does not follow"),
            psycopg.connect(url) as connection,
        ):
            connection.execute(copied.format(seq, prev_hash, "repeat('a', 64)").encode())
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("SET session_replication_role = replica")  # even if triggers are off
        connection.execute(copied.format("1", "prev_hash", "repeat('a', 64)").encode())


def test_a_listening_gateway_gets_the_routes_after_the_commit(url: str) -> None:
    driver = PlanDriver(PostgresStore(url))
    example = [sys.executable, str(ROOT / "examples" / "follow_routes.py"), url]
    with subprocess.Popen(example, stdout=subprocess.PIPE, text=True) as gateway:
        try:
            assert gateway.stdout is not None
            assert gateway.stdout.readline() == "[]\n"
            driver.live(1, plans.route(1), plans.route(2, sticky="session"))
            routes = json.loads(gateway.stdout.readline())
        finally:
            gateway.kill()
    expected = [plans.route(2, sticky="session"), plans.route(1)]
    assert [ttplan.ProposedRoute.model_validate_json(json.dumps(row)) for row in routes] == expected
    assert list(routes[0]) == ["id", "name", "priority", "enabled", "when", "then", "sticky"]


def test_eight_writers_in_four_organisations_lose_nothing(url: str) -> None:
    from benchmarks.stores import run_writers

    told = run_writers(url, writers=8, organisations=4, applies=160, threads=True)
    assert told.wrong == []
    assert told.applies == 160


def test_a_connection_of_a_process_that_forked_is_not_shared(url: str) -> None:
    store = PostgresStore(url)
    child = os.fork()
    if child == 0:
        try:
            with store.transaction() as tx:
                tx.add_plan(plans.run(1))
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with store.transaction() as tx:
        tx.add_plan(plans.run(2))
    assert len(store_state(store).plans) == 2
