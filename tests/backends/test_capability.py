"""An engine that is not exact is refused before it gives wrong digits; settings of one that is
change no byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ibis
import pytest

from tests.backends.conftest import ENGINES, Engine
from tests.support import universe
from tests.support.strategies import ORG
from ttplan import replay
from ttplan.engine.exactness import NEEDS, Need, require_exact, shortfall
from ttplan.engine.replay import replay_table
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig, PlanInput


def run(engine: Engine, plan: PlanInput) -> str:
    """The JSON of the replay of a plan's requests by that engine."""
    return universe.replayed(engine.table(plan.requests, 2), plan).model_dump_json()


def test_duckdb_which_is_not_asked_meets_every_need() -> None:
    assert shortfall(ibis.duckdb.connect()) is None


def test_polars_meets_every_need_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = ibis.polars.connect()
    require_exact(backend)
    monkeypatch.setattr("ttplan.engine.exactness.shortfall", lambda backend: "do anything")
    require_exact(backend)
    with pytest.raises(InputError, match=r"this backend \(polars\) cannot do anything"):
        require_exact(ibis.polars.connect())


def test_sqlite_is_refused_before_it_sums_floats() -> None:
    backend = ibis.sqlite.connect()
    backend.raw_sql("CREATE TABLE requests (cost_usd DECIMAL(38, 12))")
    with pytest.raises(
        InputError,
        match=r"this backend \(sqlite\) cannot sum decimals to 38 digits exactly \(expected",
    ):
        replay_table(backend.table("requests"), (), {}, org_id=ORG)


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.description)
def test_each_need_that_is_not_met_is_named(need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = need._replace(expected="something else")
    monkeypatch.setattr(
        "ttplan.engine.exactness.NEEDS", tuple(wrong if other is need else other for other in NEEDS)
    )
    message = shortfall(ibis.duckdb.connect())
    assert message is not None
    assert message.startswith(f"{need.description} (expected something else, got ")


def test_a_need_that_an_engine_raises_at_is_named() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "ttplan.engine.exactness.NEEDS",
            (*NEEDS, Need("count to a million", lambda t, engine: t.text.cast("int8").sum(), 1)),
        )
        assert shortfall(ibis.duckdb.connect()) == "count to a million (ConversionException)"


@contextmanager
def changed(session: Any, settings: dict[str, str]) -> Iterator[None]:
    """Settings of a Spark session, for the block."""
    before = {name: session.conf.get(name) for name in settings}
    for name, value in settings.items():
        session.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            session.conf.set(name, value)


@pytest.mark.spark
@pytest.mark.parametrize(
    "settings",
    [
        {"spark.sql.decimalOperations.allowPrecisionLoss": "false"},
        {"spark.sql.ansi.enabled": "false"},
        {"spark.sql.session.timeZone": "America/New_York"},
        {"spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "7"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_spark_change_no_byte(
    settings: dict[str, str], request: pytest.FixtureRequest, spark: Any
) -> None:
    plan = universe.plan(universe.log(1000, seed=18), config=PlanConfig(l1_ttl_seconds=60))
    expected = replay(plan).model_dump_json()
    with changed(spark, settings):
        assert run(ENGINES["pyspark"](request), plan) == expected


@pytest.mark.spark
def test_a_spark_setting_that_changes_text_is_named(
    request: pytest.FixtureRequest, spark: Any
) -> None:
    engine, plan = ENGINES["pyspark"](request), universe.plan(universe.log(3, seed=19))
    message = (
        r"cannot find text as it is written .*set spark.sql.parser.escapedStringLiterals to false"
    )
    with (
        changed(spark, {"spark.sql.parser.escapedStringLiterals": "true"}),
        pytest.raises(InputError, match=message),
    ):
        run(engine, plan)
    assert run(engine, plan) == replay(plan).model_dump_json()


@pytest.mark.spark
def test_a_timestamp_of_spark_without_a_zone_is_refused(
    request: pytest.FixtureRequest, spark: Any
) -> None:
    table = ENGINES["pyspark"](request).table(universe.log(3, seed=20), 1)
    spark.sql(
        f"SELECT * EXCEPT (ts), CAST(ts AS TIMESTAMP_NTZ) AS ts FROM {table.get_name()}"
    ).createTempView("naive")
    with pytest.raises(
        InputError, match="the column ts is timestamp; expected timestamps with a time zone"
    ):
        replay_table(table.get_backend().table("naive"), (), {}, org_id=ORG)
