"""How fast: `make bench`. Prints a table, on made-up requests in a store's own file; nothing here is a test.

python benchmarks/run.py [ROWS ...]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import duckdb
from rich.console import Console
from rich.table import Table

from ttplan.audit.chain import next_entry, to_record
from ttplan.audit.keys import create_key
from ttplan.audit.verify import verify_chain
from ttplan.engine.replay import replay_table
from ttplan.model.audit import Record, System, TipAnchor
from ttplan.model.plan import PlanConfig
from ttplan.plan_file import read_plan_file
from ttplan.prices import price_table
from ttplan.store.duckdb import DuckDBStore

ORG = UUID(int=1)
ROUTES = Path(__file__).parent.parent / "data" / "routes.yaml"
SIZES = (10_000, 100_000, 1_000_000)
ENTRIES = 100_000
_T = TypeVar("_T")


def best(action: Callable[[], _T], times: int = 3) -> tuple[float, _T]:
    """The shortest of some runs, in seconds, and what the last one gave."""
    shortest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        found = action()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest, found


def fill(path: Path, rows: int) -> DuckDBStore:
    """A store with that many requests, of the sample's models and tags."""
    store = DuckDBStore(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            """
            INSERT INTO requests BY NAME
            SELECT uuid() AS id, $org AS org_id, TIMESTAMPTZ '2026-05-01 00:00:00+00' + to_microseconds(i * 100000) AS ts,
              ['openai', 'anthropic'][1 + i % 2] AS provider,
              ['gpt-4o', 'claude-sonnet-4-5', 'gpt-4o-mini', 'claude-haiku-4-5'][1 + i % 4] AS model,
              CAST(exp(5 + 1.5 * random()) AS BIGINT) AS input_tokens, CAST(400 * random() AS BIGINT) AS output_tokens,
              0 AS cached_tokens, CAST(0.02 * r.cost AS DECIMAL(38, 12)) AS cost_usd, cost_usd AS baseline_cost_usd,
              FALSE AS cached, CAST(200 + 3000 * random() AS BIGINT) AS latency_ms, 200 AS status,
              ['chat', 'code'][1 + i % 3 % 2] AS tag
            FROM (SELECT i, random() AS cost FROM range($rows) AS n(i)) AS r
            """,
            {"org": ORG, "rows": rows},
        )
    return store


def replays(sizes: tuple[int, ...], folder: Path) -> Table:
    """Replay with `limit` intervals, from opening the file to the result."""
    table = Table(title="replay of a store's own requests, `limit` intervals included", title_justify="left")
    for name in ("requests", "seconds", "requests/s", "with L1, seconds", "peak memory, MB"):
        table.add_column(name, justify="right")
    routes = read_plan_file(ROUTES).routes
    prices = price_table(["openai", "anthropic"], [r.then.target_model for r in routes], at=datetime.now(UTC)).pricing
    for rows in sizes:
        store = fill(folder / f"{rows}.duckdb", rows)

        def run(config: PlanConfig, store: DuckDBStore = store) -> int:
            with store.read() as snapshot:
                return replay_table(snapshot.requests(), routes, prices, config, org_id=ORG).sample_size

        seconds, found = best(lambda run=run: run(PlanConfig()))  # type: ignore[misc]
        if found != rows:
            raise SystemExit(f"replayed {found} of {rows} requests")
        with_cache, _ = best(lambda run=run: run(PlanConfig(l1_ttl_seconds=300)))  # type: ignore[misc]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.add_row(f"{rows:,}", f"{seconds:.2f}", f"{rows / seconds:,.0f}", f"{with_cache:.2f}", f"{peak:,.0f}")
    return table


def verifications() -> Table:
    """Verifying a chain, in both strengths, beside the bare library on one core."""
    key, tip, records = create_key(), None, list[Record]()
    for number in range(ENTRIES):
        entry = next_entry(
            tip,
            key=key,
            id=UUID(int=number),
            org_id=ORG,
            timestamp=datetime(2026, 5, 1, tzinfo=UTC),
            actor=System(),
            event="plan.applied",
            payload={"plan_id": str(UUID(int=number)), "sample_size": 1000, "projected_savings_usd": 12.5},
        )
        tip = TipAnchor(entry.seq, entry.hash)
        records.append(to_record(entry))
    table = Table(title=f"verifying {ENTRIES:,} entries of an audit chain", title_justify="left")
    for name in ("signatures", "seconds", "entries/s"):
        table.add_column(name, justify="right")
    for strength in ("tip", "all"):
        seconds, _ = best(lambda s=strength: verify_chain(records, key.public_key, signatures=s), 1)  # type: ignore[misc]
        table.add_row(strength, f"{seconds:.2f}", f"{ENTRIES / seconds:,.0f}")
    first = records[0]
    signature, digest = bytes.fromhex(first.signature), bytes.fromhex(first.hash)
    seconds, _ = best(lambda: [key.public_key.fault(signature, digest) for _ in range(10_000)], 1)
    table.add_row("bare, one core", f"{seconds * ENTRIES / 10_000:.2f}", f"{10_000 / seconds:,.0f}")
    return table


def main() -> None:
    sizes = tuple(int(text.replace("_", "")) for text in sys.argv[1:]) or SIZES
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        console.print(replays(sizes, Path(folder)))
    console.print(verifications())


if __name__ == "__main__":
    main()
