"""A PostgreSQL store reports the true outcome if the connection is cut, or the server is killed,
full or read-only."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from tests.audit.chains import KEY
from tests.faults.invariants import check_followed
from tests.store.postgres.cutting_proxy import Cutting, Side
from tests.support import plans
from tests.support.plan_driver import ORG, PERSON, PlanDriver, plan_ids_by_route, store_state
from tests.support.postgres import Server, database, server, shared_server
from ttplan.apply import StoreChain, apply_plan
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import AuditEntry
from ttplan.model.errors import AuditError, OutcomeUnknown, StoreConflict, StoreError, StoreLocked
from ttplan.store.postgres import store
from ttplan.store.postgres.commit import commit
from ttplan.store.postgres.migrate import migrate
from ttplan.store.postgres.snapshot import PostgresTransaction
from ttplan.store.postgres.store import PostgresStore

pytestmark = pytest.mark.postgres

Outcome = AuditEntry | Exception
COMMIT = b"COMMIT\x00"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="pg-") as made:
        yield Path(made)


@pytest.fixture
def cutting(folder: Path) -> Iterator[Cutting]:
    """A proxy for the shared server."""
    with Cutting(folder, shared_server().folder) as made:
        yield made


def through(proxy: Cutting, url: str) -> str:
    """The URL through a proxy."""
    return url.partition("?")[0] + f"?host={proxy.folder}&sslmode=disable&gssencmode=disable"


def applied(store: PostgresStore, number: int, **options: Any) -> Outcome:
    """Apply a plan; return its entry, or the error."""
    run = plans.run(number, (plans.route(number),))
    try:
        return apply_plan(
            store, StoreChain(store, KEY), run.result, PERSON, allow_stale=True, **options
        )
    except Exception as error:
        return error


def prepared(url: str, *numbers: int) -> PlanDriver:
    """A store with plans that can be applied."""
    driver = PlanDriver(PostgresStore(url))
    for number in numbers:
        driver.project(number, plans.route(number), live_seen=())
    return driver


def contradiction(outcome: Outcome, number: int, driver: PlanDriver) -> str:
    """How a reported outcome contradicts the state of the store; empty if it does not."""
    state = store_state(driver.store)
    entries = [
        record
        for record in state.entries
        if f'"plan_id":"{UUID(int=number)}"'.encode() in record.body
    ]
    is_applied = next(run.status for run in state.plans if run.plan_id.int == number) == "applied"
    if is_applied != (len(entries) == 1) or is_applied != (
        f"route {number}" in plan_ids_by_route(driver.store)
    ):
        return "half of it is there"
    reported = isinstance(outcome, AuditEntry) or (
        isinstance(outcome, AuditError) and outcome.applied
    )
    if isinstance(outcome, OutcomeUnknown):
        return ""
    if not isinstance(outcome, AuditEntry | StoreError | AuditError):
        return f"not a ttplan error: {outcome!r}"
    return (
        "" if reported == is_applied else f"{outcome!r} was reported, and applied is {is_applied}"
    )


@pytest.mark.parametrize("side", ["before", "after"])
def test_the_outcome_is_true_wherever_the_connection_is_cut(
    tmp_path: Path, cutting: Cutting, side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = database(tmp_path)
    driver = prepared(url, *range(1, 100))
    store = PostgresStore(through(cutting, url), lock_timeout=5)
    cutting.arm(0)
    assert isinstance(applied(store, 99), AuditEntry)
    messages = cutting.passed
    assert messages > 20
    wrong, outcomes = [], {}
    cuts = [(cut, b"") for cut in range(1, messages + 1, 4)] + [(1, COMMIT)]
    for number, (cut, saying) in enumerate(cuts, 1):
        cutting.arm(cut, side, saying=saying)
        outcome = applied(store, number)
        cutting.arm(0)
        outcomes[saying] = outcome
        error_message = contradiction(outcome, number, driver)
        wrong += (
            [f"cut {side} message {cut} {saying!r} of {messages}: {error_message}"]
            if error_message
            else []
        )
        wrong += ["the password was shown"] if "secret" in f"{outcome!r} {caplog.text}" else []
    assert wrong == []
    if side == "after":
        assert isinstance(outcomes[COMMIT], AuditEntry)
    else:
        assert "the connection was lost during the commit, and nothing was written" in str(
            outcomes[COMMIT]
        )
    check_followed(driver.store)


def test_a_commit_that_cannot_be_checked_has_an_unknown_outcome(
    tmp_path: Path, cutting: Cutting
) -> None:
    url = database(tmp_path)
    driver = prepared(url, 1, 2)
    store = PostgresStore(through(cutting, url), lock_timeout=0.5)
    applied(store, 1)
    cutting.arm(1, "after", saying=COMMIT, away=True)
    outcome = applied(store, 2)
    assert isinstance(outcome, OutcomeUnknown)
    assert "Either everything was written, or nothing" in str(outcome)
    assert plan_ids_by_route(driver.store) == {"route 1": 1, "route 2": 2}


def test_an_abandoned_session_is_ended_to_learn_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not notice that its client is gone, and the transaction would never end."""
    driver = prepared(database(tmp_path), 1)
    kept: list[Any] = []

    def lost(connection: Any) -> Callable[..., Any]:
        execute = connection.execute

        def executed(query: Any, *values: Any) -> Any:
            if query == "COMMIT":
                kept.append(connection)
                raise psycopg.OperationalError("the connection is lost")
            return execute(query, *values)

        return executed

    class Lost:
        """A connection that is lost in the commit, while its session continues."""

        def __init__(self, connection: Any) -> None:
            self.connection, self.execute, self.info, self.closed = (
                connection,
                lost(connection),
                connection.info,
                True,
            )

    monkeypatch.setattr(
        store, "commit", lambda connection, *rest: commit(cast(Any, Lost(connection)), *rest)
    )
    outcome = applied(driver.store, 1)  # type: ignore[arg-type]
    assert isinstance(outcome, StoreError)
    assert "the connection was lost during the commit, and nothing was written" in str(outcome)
    assert kept
    assert contradiction(outcome, 1, driver) == ""


def test_a_commit_whose_reply_exhausts_memory_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = prepared(database(tmp_path), 1, 2)

    class Short:
        """A connection that runs out of memory when it reads the reply to the commit."""

        def __init__(self, connection: Any, reached: bool) -> None:
            self.connection, self.info, self.reached = connection, connection.info, reached

        closed = property(lambda self: self.connection.closed)

        def execute(self, query: Any, *values: Any) -> Any:
            result = (
                self.connection.execute(query, *values)
                if query != "COMMIT" or self.reached
                else None
            )
            if query == "COMMIT":
                raise MemoryError
            return result

        def close(self) -> None:
            self.connection.close()

    for number, reached in ((1, True), (2, False)):
        with monkeypatch.context() as patch:
            patch.setattr(
                store,
                "commit",
                lambda connection, *rest, r=reached: commit(cast(Any, Short(connection, r)), *rest),
            )
            outcome = applied(driver.store, number)  # type: ignore[arg-type]
        assert isinstance(outcome, AuditEntry if reached else StoreError)
        assert contradiction(outcome, number, driver) == ""


def test_a_lock_timeout_names_the_session_that_holds_the_lock(tmp_path: Path) -> None:
    url = database(tmp_path)
    driver = prepared(url, 1)
    other = UUID(int=2)
    life_of_other = PostgresStore(url, lock_timeout=0.3)
    with driver.store.transaction() as tx:
        tx.tip(ORG)
        outcome = applied(PostgresStore(url, lock_timeout=0.3), 1)
        with life_of_other.transaction() as elsewhere:  # another organisation is not held up
            elsewhere.add_plan(plans.run(50, org_id=other))
        with PostgresStore(url).read() as snapshot:  # nor is who only reads
            assert snapshot.plan(UUID(int=1)) is not None
    assert isinstance(outcome, StoreLocked)
    assert f"is in use by another session (tester: ttplan, process {os.getpid()} on " in str(
        outcome
    )
    assert "waited 0." in str(outcome)
    assert contradiction(outcome, 1, driver) == ""


def test_a_deadlock_is_reported_and_one_transaction_continues(tmp_path: Path) -> None:
    url = database(tmp_path)
    other, met = UUID(int=2), threading.Barrier(2)
    ended: list[object] = []

    def both(first: UUID, second: UUID) -> None:
        try:
            with PostgresStore(url).transaction() as tx:
                tx.tip(first)
                met.wait()
                tx.tip(second)
                ended.append("done")
        except StoreError as error:
            ended.append(type(error))

    threads = [threading.Thread(target=both, args=pair) for pair in ((ORG, other), (other, ORG))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, ended)) == sorted(map(str, ["done", StoreConflict]))


def test_a_change_that_conflicts_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = prepared(database(tmp_path), 1)
    original, failing = (
        PostgresTransaction.mark_applied,
        [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure],
    )

    def sometimes(self: Any, *arguments: Any) -> Any:
        if failing:
            with self._store.translate_errors(""):
                raise failing.pop()("at the same moment")
        return original(self, *arguments)

    monkeypatch.setattr(PostgresTransaction, "mark_applied", sometimes)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert isinstance(applied(driver.store, 1), AuditEntry)  # type: ignore[arg-type]
    assert failing == []


def writing(url: str, numbers: range, outcomes: list[tuple[int, Outcome]]) -> threading.Thread:
    """A thread that applies plans, one after the other, and stores the outcomes."""

    def work() -> None:
        store = PostgresStore(url, lock_timeout=20)
        outcomes.extend((number, applied(store, number)) for number in numbers)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_killed_server_loses_no_acknowledged_work(
    folder: Path,
) -> None:
    # Only in this test acknowledged work has to be on disk.
    with server(folder) as made:
        url = made.url()
        migrate(url)
        driver = prepared(url, *range(1, 31))
        outcomes: list[tuple[int, Outcome]] = []
        threads = [writing(url, range(first, 31, 3), outcomes) for first in (1, 2, 3)]
        while len(outcomes) < 4:
            time.sleep(0.01)
        made.kill()
        made.start()
        for thread in threads:
            thread.join()
        store = PostgresStore(url)
        checked = [(number, what, contradiction(what, number, driver)) for number, what in outcomes]
        assert [row for row in checked if row[2]] == []
        assert (
            sum(isinstance(what, StoreError | OutcomeUnknown | AuditError) for _, what in outcomes)
            >= 1
        )
        with store.read() as snapshot:
            records = list(snapshot.entries(ORG))
        verify_chain(records, KEY.public_key)
        check_followed(store)


def test_an_open_store_works_after_a_server_restart(folder: Path) -> None:
    with server(folder, "fsync=off") as made:
        url = made.url()
        migrate(url)
        driver = prepared(url, 1)
        made.stop()
        with (
            pytest.raises(StoreError, match=r"the connection failed or was lost"),
            driver.store.read(),
        ):
            pass
        made.start()
        assert isinstance(applied(driver.store, 1), AuditEntry)  # type: ignore[arg-type]


def test_a_standby_is_readable_but_not_writable(folder: Path) -> None:
    first, second = folder / "a", folder / "b"
    for folder in (first, second):
        folder.mkdir()
    with server(first, "fsync=off", "wal_level=replica", "max_wal_senders=3") as made:
        migrate(made.url())
        driver = prepared(made.url(), 1, 2)
        driver.apply(1, allow_stale=True)
        standby = Server(second, "fsync=off", "hot_standby=on", of=made)
        try:
            store = PostgresStore(standby.url())
            assert store_state(store) == store_state(driver.store)
            outcome = applied(store, 2)
            assert isinstance(outcome, StoreError)
            assert "it is read-only, as a standby is; write to the primary" in str(outcome)
        finally:
            standby.stop()
        assert contradiction(outcome, 2, driver) == ""


def test_a_full_disk_is_reported_and_writes_nothing(folder: Path) -> None:
    small = folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        (folder / "server").mkdir()
        with server(folder / "server", "fsync=off") as made:
            place = small / "space"
            place.mkdir()
            os.chown(place, os.stat(made.data).st_uid, -1)
            small.chmod(0o755)
            with psycopg.connect(made.url(), autocommit=True) as connection:
                connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
                connection.execute(b"CREATE DATABASE full_one TABLESPACE small STRATEGY file_copy")
            url = made.url("full_one")
            migrate(url)
            driver = prepared(url, 1)
            ballast = place / "ballast"
            ballast.write_bytes(b"x" * (os.statvfs(small).f_bavail * os.statvfs(small).f_frsize))
            large = plans.run(
                2, (plans.route(2),), failure="".join(chr(33 + n * n % 90) for n in range(400_000))
            )
            with (
                pytest.raises(StoreError, match=r"its disk is full \(.*\); free space there"),
                driver.store.transaction() as tx,
            ):
                tx.add_plan(large)
            ballast.unlink()
            assert [run.plan_id.int for run in store_state(driver.store).plans] == [1]
            assert isinstance(applied(driver.store, 1), AuditEntry)  # type: ignore[arg-type]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
