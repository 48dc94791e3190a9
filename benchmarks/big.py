"""A replay of a log that is bigger than memory. Nothing here is a test.

    python -m benchmarks.big [ROWS] [--l1] [--memory-limit 2GB] [--folder FOLDER]

Generates requests as Parquet files in a separate process, 10 million per file (about 330 MB), and
plans on them in place. Prints requests per second and the peak memory of the whole process. The
files are removed at the end, unless a FOLDER is given.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

import ttplan
from ttplan.model.plan import PlanConfig

ROUTES = Path(__file__).parent.parent / "data" / "routes.yaml"
ROWS_PER_FILE = 10_000_000
_REQUESTS = """
    SELECT uuid() AS id, TIMESTAMPTZ '2026-05-01 00:00:00+00' + to_microseconds(i * 10000) AS ts,
      ['openai', 'anthropic'][1 + i % 2] AS provider,
      ['gpt-4o', 'claude-sonnet-4-5', 'gpt-4o-mini', 'claude-haiku-4-5'][1 + i % 4] AS model,
      CAST(exp(5 + 1.5 * random()) AS BIGINT) AS input_tokens,
      CAST(400 * random() AS BIGINT) AS output_tokens,
      CAST(0.02 * r.cost AS DECIMAL(38, 12)) AS cost_usd,
      CAST(200 + 3000 * random() AS BIGINT) AS latency_ms,
      ['chat', 'code'][1 + i % 3 % 2] AS tag
    FROM (
      SELECT i, random() AS cost FROM range(CAST($start AS BIGINT), CAST($stop AS BIGINT)) AS n(i)
    ) AS r
"""


def make_files(folder: Path, rows: int) -> None:
    """Write `rows` requests, unless the files exist."""
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for start in range(0, rows, ROWS_PER_FILE):
            stop = min(start + ROWS_PER_FILE, rows)
            file = folder / f"requests-{start:012}-{stop:012}.parquet"
            if not file.exists():
                connection.sql(_REQUESTS, params={"start": start, "stop": stop}).write_parquet(
                    str(file), compression="zstd"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="?", default="10_000_000", help="number of requests")
    parser.add_argument("--l1", action="store_true", help="project an exact-match cache of 300 s")
    parser.add_argument("--memory-limit", default="2GB", help="memory limit of DuckDB")
    parser.add_argument("--folder", type=Path, help="folder for the files, which are kept")
    parser.add_argument("--make", action="store_true", help="only make the files")
    options = parser.parse_args()
    rows = int(options.rows.replace("_", ""))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.make:
            folder.mkdir(parents=True, exist_ok=True)
            make_files(folder, rows)
            return
        subprocess.run(
            [sys.executable, __file__, str(rows), "--make", "--folder", str(folder)], check=True
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        config = PlanConfig(l1_ttl_seconds=300 if options.l1 else None)
        workspace = ttplan.open(Path(temporary) / "plans.duckdb")
        start = time.perf_counter()
        plan = workspace.plan(
            ROUTES, name="big", requests=folder, memory_limit=options.memory_limit, config=config
        )
        seconds = time.perf_counter() - start
    if plan.result.sample_size != rows:
        raise SystemExit(f"replayed {plan.result.sample_size:,} of {rows:,} requests")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    used = time.process_time()
    print(
        f"{rows:,} requests{' with L1' if options.l1 else ''} in {seconds:.1f} s "
        f"({used:.0f} s of CPU time): {rows / seconds:,.0f} per second; peak memory {peak:,.0f} MB "
        f"({before:,.0f} MB before the replay), limit of DuckDB {options.memory_limit}"
    )


if __name__ == "__main__":
    main()
