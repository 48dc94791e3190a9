"""What a table from elsewhere has to be: its columns, their types, and what is in its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from tests.support import universe
from tests.support.strategies import ORG
from ttplan import replay
from ttplan.engine import dialects
from ttplan.engine.full.row_order import unordered
from ttplan.engine.project import map_requests, map_window
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_arrow, to_table
from ttplan.engine.summary import cell_sums
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig

PLAN = universe.plan(
    universe.log(300, seed=21), config=PlanConfig(l1_ttl_seconds=60), bootstrap_iterations=40
)


def run(table: ir.Table) -> str:
    """The JSON of the replay of a table."""
    return universe.replayed(table, PLAN).model_dump_json()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t,
        lambda t: t.mutate(id=t.id.cast("uuid"), org_id=t.org_id.cast("uuid")),
        lambda t: t.mutate(id=t.id.cast("uuid")),
        lambda t: t.mutate(
            input_tokens=t.input_tokens.cast("decimal(38, 0)"),
            latency_ms=t.latency_ms.cast("int16"),
        ),
        lambda t: t.mutate(
            cost_usd=t.cost_usd.cast("decimal(20, 10)"),
            baseline_cost_usd=t.baseline_cost_usd.cast("decimal(18, 9)"),
        ),
        lambda t: t.mutate(extra=1).order_by(ibis.desc("cost_usd")),
    ],
    ids=[
        "as it is",
        "both ids UUIDs",
        "one id a UUID",
        "other whole numbers",
        "other decimals",
        "one column more",
    ],
)
def test_types_that_say_the_same_give_the_same_bytes(
    change: Callable[[ir.Table], ir.Table],
) -> None:
    assert run(change(to_table(PLAN.requests))) == replay(PLAN).model_dump_json()


def test_a_table_of_no_engine_is_replayed_in_duckdb() -> None:
    assert run(ibis.memtable(to_arrow(PLAN.requests))) == replay(PLAN).model_dump_json()


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("cost_usd", "float64", "decimals, which are exact"),
        ("baseline_cost_usd", "string", "decimals, which are exact"),
        ("ts", "timestamp", "timestamps with a time zone"),
        ("ts", "string", "timestamps with a time zone"),
        ("input_tokens", "float64", "whole numbers"),
        ("latency_ms", "decimal(10, 3)", "whole numbers"),
        ("cached", "int8", "true and false"),
    ],
)
def test_a_column_of_another_type_is_named(column: str, kind: str, expected: str) -> None:
    table = to_table(PLAN.requests)
    with pytest.raises(InputError, match=rf"the column {column} is .*; expected {expected}"):
        run(table.mutate(**{column: table[column].cast(kind)}))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", None, "id in 1 rows, never null"),
        ("org_id", None, "org_id in 1 rows, never null"),
        ("ts", None, "ts in 1 rows, never null"),
        ("model", None, "model in 1 rows, never null"),
        ("cached", None, "cached in 1 rows, never null"),
        ("cost_usd", None, "cost_usd in 1 rows, expected 0 up to below 1,000,000,000,000"),
        ("cost_usd", Decimal(10) ** 12, "cost_usd in 1 rows, expected 0 up to below"),
        ("baseline_cost_usd", Decimal("-0.000000000001"), "baseline_cost_usd in 1 rows"),
        ("input_tokens", 10**12, "input_tokens in 1 rows"),
        ("cached_tokens", -1, "cached_tokens in 1 rows"),
        (
            "latency_ms",
            -1,
            "latency_ms in 1 rows, expected null or 0 up to below 9,007,199,254,740,992",
        ),
    ],
)
def test_a_row_that_is_no_request_is_counted_by_column(
    column: str, value: Any, message: str
) -> None:
    table = to_table(PLAN.requests)
    first = table.id == str(PLAN.requests[0].id)
    bad = (
        ibis.literal(value, table[column].type())
        if value is not None
        else ibis.null(table[column].type())
    )
    with pytest.raises(InputError, match=f"the table has rows that are not requests: {message}"):
        run(table.mutate(**{column: first.ifelse(bad, table[column])}))


def test_rows_that_are_left_out_may_be_anything() -> None:
    other = PLAN.requests[0].model_copy(update={"org_id": PLAN.plan_id, "id": PLAN.plan_id})
    table = to_table((*PLAN.requests, other))
    broken = (table.org_id != str(ORG)).ifelse(ibis.literal(-1, "int64"), table.input_tokens)
    text = run(table.mutate(input_tokens=broken))
    assert "1 request of another organisation left out." in text
    assert '"sample_size":300' in text


@pytest.mark.parametrize("grid", [(1, 1), (7_000_003, 12), (700_000_001, 700_000_002)])
def test_a_query_made_of_a_template_is_the_query_itself(grid: tuple[int, int]) -> None:
    spec = ReplaySpec.from_plan(PLAN)
    with map_requests(to_table(PLAN.requests[:9]), spec) as mapped:
        for _ in range(2):
            text, schema = dialects._sql_from((mapped,), cell_sums, (0,), grid)
            query = cell_sums(mapped, 0, *grid)
            assert text == dialects._sql(mapped.get_backend(), query)
            assert schema == query.schema()


def test_text_of_users_is_not_taken_for_a_template() -> None:
    for text in ("700000001", "1400000002", "ttplan", "'; DROP TABLE requests; --", "\\1 {0} %s"):
        requests = tuple(r.model_copy(update={"tag": text}) for r in PLAN.requests[:9])
        (route,) = PLAN.proposed_routes
        route = route.model_copy(
            update={"when": route.when.model_copy(update={"tag_equals": text})}
        )
        plan = universe.plan(requests, proposed_routes=(route,), bootstrap_iterations=1)
        assert replay(plan).per_route_breakdown[0].matched == 9


def test_overlapping_blocks_leave_the_order_of_rows() -> None:
    backend = ibis.duckdb.connect()
    query = "SELECT current_setting('preserve_insertion_order')"
    first, second = unordered(backend), unordered(backend)
    with first:
        assert backend.con.execute(query).fetchone() == (False,)
        second.__enter__()
    second.__exit__(None, None, None)
    assert backend.con.execute(query).fetchone() == (True,)


def test_mapped_rows_are_read_in_an_instance_with_order() -> None:
    table = to_table(PLAN.requests)
    spec = replace(ReplaySpec.from_plan(PLAN), config=PlanConfig(projection="full"))
    with map_window(table, spec) as window:
        con = window.rows.get_backend().con
        query = "SELECT current_setting('preserve_insertion_order')"
        assert con.execute(query).fetchone() == (True,)
