"""Concurrent writers: plans applied per second in each kind of store, and that none is lost."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from ttplan.apply import StoreChain, apply_plan
from ttplan.audit.keys.key_files import SigningKey, key_from_hex
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import System
from ttplan.model.plan import PlanConfig, PlanResult, make_empty_result
from ttplan.model.route import ProposedRoute, RouteAction
from ttplan.model.stored_plan import StoredPlan
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.protocol import Store
from ttplan.util.paths import is_postgres_url

WRITERS, ORGANISATIONS, APPLIES = 8, 4, 2_000
_WINDOW = (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC))
_SEED = "22" * 32
_NAMES = 5
"""Number of live routes in an organisation: plans replace the routes of others."""


class StressResult(NamedTuple):
    """Number of applied plans, seconds, and descriptions of what is wrong at the end."""

    applies: int
    seconds: float
    wrong: list[str]


class _Share(NamedTuple):
    """The work of one writer: plan numbers of one organisation, from the time `start` on."""

    location: str
    organisation: int
    numbers: range
    start: float


def run_writers(
    location: str, *, writers: int, organisations: int, applies: int, threads: bool = False
) -> StressResult:
    """Let writers apply plans in several organisations concurrently, then check the stores.

    `location` is the URL of a database, or a folder in which each organisation has a file. Writers
    are processes, or threads, which start faster and run slower.
    """
    key = _key()
    for organisation in range(organisations):
        _prepare(location, organisation, range(organisation, applies, organisations))
    executor: Executor = (
        ThreadPoolExecutor(writers)
        if threads
        else ProcessPoolExecutor(writers, multiprocessing.get_context("spawn"))
    )
    with executor as pool:
        list(pool.map(time.sleep, [0.5] * writers))  # every process has started
        start = time.time() + 0.5
        shares = [
            _Share(location, writer % organisations, range(writer, applies, writers), start)
            for writer in range(writers)
        ]
        results = list(pool.map(_write, shares))
    seconds = max(end for _, end in results) - start
    hashes = {entry for entries, _ in results for entry in entries}
    wrong: list[str] = []
    for organisation in range(organisations):
        wrong += _check(
            location, organisation, range(organisation, applies, organisations), hashes, key
        )
    return StressResult(len(hashes), seconds, wrong)


def _key() -> SigningKey:
    return key_from_hex(_SEED)


def _store(location: str, organisation: int) -> Store:
    if is_postgres_url(location):
        from ttplan.store.postgres.store import PostgresStore

        return PostgresStore(location, org_id=_org(organisation), lock_timeout=120)
    return DuckDBStore(Path(location) / f"{organisation}.duckdb", lock_timeout=120)


def _org(organisation: int) -> UUID:
    return UUID(int=1_000 + organisation)


def _result(organisation: int, number: int) -> PlanResult:
    name = f"route {number % _NAMES}"
    route = ProposedRoute(
        id=UUID(int=10**9 + number),
        name=name,
        priority=1,
        then=RouteAction(target_model="gpt-4o-mini"),
    )
    return make_empty_result(UUID(int=number + 1), _org(organisation), _WINDOW, (route,))


def _prepare(location: str, organisation: int, numbers: range) -> None:
    with _store(location, organisation).transaction() as tx:
        tx.set_org_id(_org(organisation))
        for number in numbers:
            run = StoredPlan(
                plan_id=UUID(int=number + 1),
                org_id=_org(organisation),
                name=f"plan {number}",
                created_at=_WINDOW[1],
                nonce=f"{number:064x}",
                seed=0,
                bootstrap_iterations=1,
                config=PlanConfig(),
                pricing={},
                result=_result(organisation, number),
            )
            tx.add_plan(run)


def _write(share: _Share) -> tuple[list[str], float]:
    store = _store(share.location, share.organisation)
    chain = StoreChain(store, _key())
    time.sleep(max(0.0, share.start - time.time()))
    hashes = [
        apply_plan(store, chain, _result(share.organisation, n), System(), allow_stale=True).hash
        for n in share.numbers
    ]
    return hashes, time.time()


def _check(
    location: str, organisation: int, numbers: range, hashes: set[str], key: SigningKey
) -> list[str]:
    """Describe how an organisation differs from what was acknowledged: gaps, forks, losses."""
    with _store(location, organisation).read() as snapshot:
        records = list(snapshot.entries(_org(organisation)))
        statuses = snapshot.statuses(_org(organisation))
        live = len(snapshot.live_routes(_org(organisation)))
    verify_chain(records, key.public_key)
    checks = {
        f"{len(records)} entries, {len(numbers)} applies": len(records) == len(numbers),
        "entries that were not acknowledged": {record.hash for record in records} <= hashes,
        "plans that are not applied": all(
            statuses[UUID(int=number + 1)] == "applied" for number in numbers
        ),
        f"{live} live routes": live == min(_NAMES, len({number % _NAMES for number in numbers})),
    }
    return [
        f"organisation {organisation}: {description}"
        for description, passed in checks.items()
        if not passed
    ]


def store_rates(applies: int = APPLIES) -> list[tuple[str, float | None]]:
    """Return applies per second of 8 writers in 4 organisations; None if a store is unavailable."""
    rates: list[tuple[str, float | None]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rates.append(("DuckDB, one file per organisation", _rate(folder, applies)))
    postgres = "PostgreSQL, one database"
    from tests.support.postgres import has_programs, server

    if not has_programs():
        return [*rates, (postgres, None)]
    from ttplan.store.postgres.migrate import migrate

    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        server(Path(folder)) as postgres_server,
    ):
        migrate(postgres_server.url())
        rates.append((postgres, _rate(postgres_server.url(), applies)))
    return rates


def _rate(location: str, applies: int) -> float:
    outcome = run_writers(location, writers=WRITERS, organisations=ORGANISATIONS, applies=applies)
    if outcome.wrong or outcome.applies != applies:
        raise SystemExit(f"{location}: {outcome}")
    return outcome.applies / outcome.seconds


if __name__ == "__main__":
    for label, rate in store_rates(int(sys.argv[1]) if len(sys.argv) > 1 else APPLIES):
        print(
            label,
            "not measured: PostgreSQL is not installed"
            if rate is None
            else f"{rate:,.0f} applies/s",
        )
