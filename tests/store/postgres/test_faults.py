"""A PostgreSQL store whose connection is cut at every message, whose server dies, fills up, or only reads: the truth is told."""

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

Told = AuditEntry | Exception
COMMIT = b"COMMIT\x00"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="pg-") as made:
        yield Path(made)


@pytest.fixture
def cutting(folder: Path) -> Iterator[Cutting]:
    """A proxy before the shared server."""
    with Cutting(folder, shared_server().folder) as made:
        yield made


def through(proxy: Cutting, url: str) -> str:
    """The URL by way of a proxy."""
    return url.partition("?")[0] + f"?host={proxy.folder}&sslmode=disable&gssencmode=disable"


def applied(store: PostgresStore, number: int, **options: Any) -> Told:
    """The entry, or what was raised instead, of applying a plan."""
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


def is_true(told: Told, number: int, driver: PlanDriver) -> str:
    """What is wrong with what was told, given what is there; nothing where it is the truth."""
    found = store_state(driver.store)
    entries = [
        record
        for record in found.entries
        if f'"plan_id":"{UUID(int=number)}"'.encode() in record.body
    ]
    there = next(run.status for run in found.plans if run.plan_id.int == number) == "applied"
    if there != (len(entries) == 1) or there != (
        f"route {number}" in plan_ids_by_route(driver.store)
    ):
        return "half of it is there"
    said = isinstance(told, AuditEntry) or (isinstance(told, AuditError) and told.applied)
    if isinstance(told, OutcomeUnknown):
        return ""
    if not isinstance(told, AuditEntry | StoreError | AuditError):
        return f"no error of ours: {told!r}"
    return "" if said == there else f"told {told!r}, and applied is {there}"


@pytest.mark.parametrize("side", ["before", "after"])
def test_wherever_the_connection_is_cut_what_is_told_is_the_truth(
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
        told = applied(store, number)
        cutting.arm(0)
        outcomes[saying] = told
        found = is_true(told, number, driver)
        wrong += [f"cut {side} message {cut} {saying!r} of {messages}: {found}"] if found else []
        wrong += ["the password was told"] if "secret" in f"{told!r} {caplog.text}" else []
    assert wrong == []
    if side == "after":
        assert isinstance(outcomes[COMMIT], AuditEntry)
    else:
        assert "the connection was lost during the commit, and nothing was written" in str(
            outcomes[COMMIT]
        )
    check_followed(driver.store)


def test_a_commit_of_which_the_server_cannot_be_asked_is_told_as_unknown(
    tmp_path: Path, cutting: Cutting
) -> None:
    url = database(tmp_path)
    driver = prepared(url, 1, 2)
    store = PostgresStore(through(cutting, url), lock_timeout=0.5)
    applied(store, 1)
    cutting.arm(1, "after", saying=COMMIT, away=True)
    told = applied(store, 2)
    assert isinstance(told, OutcomeUnknown)
    assert "Either everything was written, or nothing" in str(told)
    assert plan_ids_by_route(driver.store) == {"route 1": 1, "route 2": 2}


def test_a_session_that_nobody_listens_to_any_more_is_ended_to_know_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not notice that its client is gone: the transaction would be under way for ever."""
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
        """A connection that is lost in the commit, while its session goes on."""

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
    told = applied(driver.store, 1)  # type: ignore[arg-type]
    assert isinstance(told, StoreError)
    assert "the connection was lost during the commit, and nothing was written" in str(told)
    assert kept
    assert is_true(told, 1, driver) == ""


def test_a_commit_whose_answer_did_not_fit_the_memory_is_told_as_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = prepared(database(tmp_path), 1, 2)

    class Short:
        """A connection for whose answer to the commit there is no memory."""

        def __init__(self, connection: Any, reached: bool) -> None:
            self.connection, self.info, self.reached = connection, connection.info, reached

        closed = property(lambda self: self.connection.closed)

        def execute(self, query: Any, *values: Any) -> Any:
            found = (
                self.connection.execute(query, *values)
                if query != "COMMIT" or self.reached
                else None
            )
            if query == "COMMIT":
                raise MemoryError
            return found

        def close(self) -> None:
            self.connection.close()

    for number, reached in ((1, True), (2, False)):
        with monkeypatch.context() as patch:
            patch.setattr(
                store,
                "commit",
                lambda connection, *rest, r=reached: commit(cast(Any, Short(connection, r)), *rest),
            )
            told = applied(driver.store, number)  # type: ignore[arg-type]
        assert isinstance(told, AuditEntry if reached else StoreError)
        assert is_true(told, number, driver) == ""


def test_a_lock_that_another_session_has_is_told_with_who_has_it(tmp_path: Path) -> None:
    url = database(tmp_path)
    driver = prepared(url, 1)
    other = UUID(int=2)
    life_of_other = PostgresStore(url, lock_timeout=0.3)
    with driver.store.transaction() as tx:
        tx.tip(ORG)
        told = applied(PostgresStore(url, lock_timeout=0.3), 1)
        with life_of_other.transaction() as elsewhere:  # another organisation is not held up
            elsewhere.add_plan(plans.run(50, org_id=other))
        with PostgresStore(url).read() as snapshot:  # nor is who only reads
            assert snapshot.plan(UUID(int=1)) is not None
    assert isinstance(told, StoreLocked)
    assert f"is in use by another session (tester: ttplan, process {os.getpid()} on " in str(told)
    assert "waited 0." in str(told)
    assert is_true(told, 1, driver) == ""


def test_two_that_wait_for_each_other_are_told_so_and_one_goes_on(tmp_path: Path) -> None:
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


def test_a_change_in_which_others_stood_in_the_way_is_tried_again(
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


def writing(url: str, numbers: range, said: list[tuple[int, Told]]) -> threading.Thread:
    """A thread that applies plans, one after the other, and keeps what it was told."""

    def work() -> None:
        store = PostgresStore(url, lock_timeout=20)
        said.extend((number, applied(store, number)) for number in numbers)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_server_that_is_killed_and_restarted_loses_nothing_that_was_acknowledged(
    folder: Path,
) -> None:
    # Here alone what is acknowledged has to be on the disk.
    with server(folder) as made:
        url = made.url()
        migrate(url)
        driver = prepared(url, *range(1, 31))
        said: list[tuple[int, Told]] = []
        threads = [writing(url, range(first, 31, 3), said) for first in (1, 2, 3)]
        while len(said) < 4:
            time.sleep(0.01)
        made.kill()
        made.start()
        for thread in threads:
            thread.join()
        found = PostgresStore(url)
        told = [(number, what, is_true(what, number, driver)) for number, what in said]
        assert [one for one in told if one[2]] == []
        assert (
            sum(isinstance(what, StoreError | OutcomeUnknown | AuditError) for _, what in said) >= 1
        )
        with found.read() as snapshot:
            records = list(snapshot.entries(ORG))
        verify_chain(records, KEY.public_key)
        check_followed(found)


def test_a_store_that_was_open_when_the_server_restarted_goes_on(folder: Path) -> None:
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


def test_a_standby_is_read_and_not_written(folder: Path) -> None:
    first, second = folder / "a", folder / "b"
    for one in (first, second):
        one.mkdir()
    with server(first, "fsync=off", "wal_level=replica", "max_wal_senders=3") as made:
        migrate(made.url())
        driver = prepared(made.url(), 1, 2)
        driver.apply(1, allow_stale=True)
        standby = Server(second, "fsync=off", "hot_standby=on", of=made)
        try:
            store = PostgresStore(standby.url())
            assert store_state(store) == store_state(driver.store)
            told = applied(store, 2)
            assert isinstance(told, StoreError)
            assert "it is read-only, as a standby is; write to the primary" in str(told)
        finally:
            standby.stop()
        assert is_true(told, 2, driver) == ""


def test_a_full_disk_is_told_and_nothing_is_half_written(folder: Path) -> None:
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
