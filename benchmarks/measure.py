"""One measurement, in a separate process, so that its peak memory is its own. Prints it as JSON.

python -m benchmarks.measure KIND ROWS STORE
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.logs import ORG, make_embedded_log, make_log
from ttplan.engine.replay import replay_table
from ttplan.engine.suggest.suggest import suggest
from ttplan.gateways.plan_file import read_plan_file
from ttplan.model.plan import IntervalMethod, PlanConfig
from ttplan.prices import price_table
from ttplan.store.duckdb.store import DuckDBStore

ROUTES = Path(__file__).parent.parent / "data" / "routes.yaml"
TARGETS = ["gpt-4o-mini", "claude-haiku-4-5"]
RUNS, MAX_SECONDS = 3, 10.0
"""The figure is the shortest of `RUNS` runs; no run starts after `MAX_SECONDS`."""
HOUR, MONTH = 3_600, 30 * 86_400


class Kind(NamedTuple):
    """What is measured, on which log of which sizes; `run` returns the number of requests."""

    label: str
    sizes: tuple[int, ...]
    run: Callable[[Path], int]
    make: Callable[[Path, int], None] = make_log


def _replay(method: IntervalMethod = "limit", **config: Any) -> Callable[[Path], int]:
    def run(path: Path) -> int:
        routes = read_plan_file(ROUTES).routes
        prices = price_table(
            ["openai", "anthropic"], [r.then.target_model for r in routes], at=datetime.now(UTC)
        ).pricing
        with DuckDBStore(path).read() as snapshot:
            plan = PlanConfig(**config)
            result = replay_table(
                snapshot.requests(), routes, prices, plan, org_id=ORG, interval_method=method
            )
        return result.sample_size

    return run


def _suggest(path: Path) -> int:
    prices = price_table(["openai", "anthropic"], TARGETS, at=datetime.now(UTC)).pricing
    with DuckDBStore(path).read() as snapshot:
        return suggest(snapshot.requests(), TARGETS, prices=prices, org_id=ORG).requests


_TEN_THOUSAND, _HUNDRED_THOUSAND, _MILLION, _TEN_MILLION = 10_000, 100_000, 1_000_000, 10_000_000
_SMALL = (_TEN_THOUSAND, _HUNDRED_THOUSAND)
_LARGE = (*_SMALL, _MILLION, _TEN_MILLION)
KINDS = {
    "limit": Kind("replay, `limit`", _LARGE, _replay()),
    "full": Kind("full projection", _LARGE[:3], _replay(projection="full")),
    "l1": Kind("with L1 hits", _LARGE, _replay(l1_ttl_seconds=300)),
    "hour": Kind("clusters: hours", _LARGE, _replay(cluster="hour")),
    "session": Kind("clusters: sessions", _LARGE[:3], _replay(cluster="session_id")),
    "suggest": Kind("suggest", _LARGE[:3], _suggest),
    "resample": Kind("`resample`", _SMALL, _replay("resample")),
    "tt-plan-core": Kind("`tt-plan-core`", _SMALL, _replay("tt-plan-core")),
    "l2-hour": Kind(
        "with L2, TTL an hour", _SMALL, _replay(l2_ttl_seconds=HOUR), make_embedded_log
    ),
    "l2-all": Kind(
        "with L2, TTL a month", _SMALL, _replay(l2_ttl_seconds=MONTH), make_embedded_log
    ),
}


def best(action: Callable[[], int], runs: int = RUNS) -> tuple[float, int]:
    """Return the seconds of the shortest run, and the result of the last one."""
    shortest, began = float("inf"), time.perf_counter()
    for _ in range(runs):
        start = time.perf_counter()
        result = action()
        shortest = min(shortest, time.perf_counter() - start)
        if time.perf_counter() - began > MAX_SECONDS:
            break
    return shortest, result


def main() -> None:
    name, rows, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if not path.exists():
        KINDS[name].make(path, rows)
        return
    seconds, requests = best(lambda: KINDS[name].run(path))
    if requests != rows:
        raise SystemExit(f"{name}: read {requests:,} of {rows:,} requests")
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
