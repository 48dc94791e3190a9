"""Generated logs, each in its own store. The rows do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa

from ttplan.store.duckdb.store import DuckDBStore

ORG = UUID(int=1)
DIMENSIONS = 1_536
NOISE = (0.1, 0.3, 0.45)
"""Distances of requests from their centre: two with the same one have a cosine near 0.99, 0.92
and 0.83.
"""
_BLOCK = 4_096
_LOCAL, _MODELS = 40, 4
_MONTH, _DAY = 30 * 86_400_000_000, 86_400_000_000
# The sample's models and tags. Costs, tokens and latencies are as skewed as real ones.
_ROWS = """
    INSERT INTO requests BY NAME
    SELECT CAST(md5(CAST(i AS VARCHAR)) AS UUID) AS id, $org AS org_id,
      TIMESTAMPTZ '2026-05-01 00:00:00+00'
        + to_microseconds(CAST(CAST(i AS HUGEINT) * $span // $rows AS BIGINT)) AS ts,
      ['openai', 'anthropic'][1 + i % 2] AS provider,
      ['gpt-4o', 'claude-sonnet-4-5', 'gpt-4o-mini', 'claude-haiku-4-5'][1 + i % 4] AS model,
      CAST(exp(5 + 1.5 * even(i, 1)) AS BIGINT) AS input_tokens,
      CAST(400 * even(i, 2) AS BIGINT) AS output_tokens, 0 AS cached_tokens,
      CAST(0.02 * even(i, 3) AS DECIMAL(38, 12)) AS cost_usd, cost_usd AS baseline_cost_usd,
      FALSE AS cached, CAST(200 + 3000 * even(i, 4) AS BIGINT) AS latency_ms, 200 AS status,
      ['chat', 'code'][1 + i % 3 % 2] AS tag, 'session ' || i // 20 AS session_id{more}
    FROM {source}
"""


def make_log(path: Path, rows: int) -> None:
    """Create a store with `rows` requests of a month, twenty per session."""
    with _open_store(path) as connection:
        connection.execute(
            _ROWS.format(more="", source="range($rows) AS n(i)"),
            {"org": ORG, "rows": rows, "span": _MONTH},
        )


def make_embedded_log(path: Path, rows: int) -> None:
    """Create a store with `rows` requests of a day, with embeddings.

    Many are similar to an earlier request of the same model.
    """
    with _open_store(path) as connection:
        for block in _embedded(rows):
            connection.register("block", block)
            connection.execute(
                _ROWS.format(more=", embedding, finish_reason", source="block"),
                {"org": ORG, "rows": rows, "span": _DAY},
            )
            connection.unregister("block")


def _open_store(path: Path) -> duckdb.DuckDBPyConnection:
    DuckDBStore(path)
    connection = duckdb.connect(str(path))
    connection.execute("CREATE TEMP MACRO even(i, n) AS hash(i * 8 + n) / 18446744073709551616.0")
    return connection


def _embedded(rows: int) -> Iterator[pa.Table]:
    """Yield blocks of row number, embedding and finish reason.

    Half of the requests are similar to others of the same time.
    """
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((rows // 3 + _LOCAL + _MODELS, DIMENSIONS), dtype=np.float32)
    for start in range(0, rows, _BLOCK):
        i = np.arange(start, min(rows, start + _BLOCK))
        local = i // 3 + chance.integers(0, _LOCAL, len(i))
        centre = np.where(
            chance.random(len(i)) < 0.5, local, chance.integers(0, len(centres) - _MODELS, len(i))
        )
        # Each model has its own centres, because it has its own cache.
        centre += (i - centre) % _MODELS
        width = chance.choice(np.array(NOISE, dtype=np.float32), (len(i), 1))
        values = centres[centre] + width * chance.standard_normal(
            (len(i), DIMENSIONS), dtype=np.float32
        )
        offsets = np.arange(len(i) + 1, dtype=np.int32) * DIMENSIONS
        vectors = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
        reasons = chance.choice(np.array(["stop", "length"]), len(i), p=[0.95, 0.05])
        yield pa.table({"i": i, "embedding": vectors, "finish_reason": pa.array(reasons.tolist())})
