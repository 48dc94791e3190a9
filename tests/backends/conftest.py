"""Engines beside DuckDB, each with a way to put requests into it. To test another: a function here,
and a line in `ENGINES`."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from ttplan.engine.rows import to_arrow
from ttplan.model.request import RequestLog

REQUIRED = "TTPLAN_REQUIRE_SPARK"
"""Where this is set, as in CI, no Spark is a failure and not a skip."""
_number = count()


@dataclass(frozen=True)
class Engine:
    """A connection, and `table(requests, parts)`: the requests there, in that many parts where the
    engine has such."""

    backend: Any
    table: Callable[[Sequence[RequestLog], int], ir.Table]
    plans: int
    """How many generated plans it is asked, so that the suite stays within a minute and a half."""
    full_plans: int
    """How many of them are full projections."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session of two threads that listens on 127.0.0.1 only."""
    lacking = _lacking_for_spark()
    if lacking:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but {lacking}")
        pytest.skip(lacking)
    from pyspark.sql import SparkSession

    settings: dict[str, bool | float | int | str | None] = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
    }
    handler = signal.getsignal(signal.SIGINT)
    session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    # Spark puts a handler of its own in place for good, under which an interrupt in a later test
    # ends the whole run.
    signal.signal(signal.SIGINT, handler)
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def _lacking_for_spark() -> str | None:
    try:
        import pyspark  # noqa: F401
    except ImportError:
        return "pyspark is not installed: pip install 'ttplan[spark]'"
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") or (home and (Path(home) / "bin" / "java").exists()):
        return None
    return "there is no java: Spark needs a Java runtime of version 17 or newer"


def _pyspark(request: pytest.FixtureRequest) -> Engine:
    session = request.getfixturevalue("spark")
    backend = ibis.pyspark.connect(session)

    def table(requests: Sequence[RequestLog], parts: int) -> ir.Table:
        name = f"requests_{next(_number)}"
        session.createDataFrame(to_arrow(requests)).repartition(parts).createTempView(name)
        return backend.table(name)

    return Engine(backend, table, plans=10, full_plans=2)


def _polars(request: pytest.FixtureRequest) -> Engine:
    backend = ibis.polars.connect()
    return Engine(
        backend,
        lambda requests, parts: backend.create_table(
            f"requests_{next(_number)}", to_arrow(requests)
        ),
        plans=40,
        full_plans=6,
    )


ENGINES = {"pyspark": _pyspark, "polars": _polars}


@pytest.fixture(
    params=["polars", pytest.param("pyspark", marks=pytest.mark.spark)],
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    return ENGINES[request.param](request)
