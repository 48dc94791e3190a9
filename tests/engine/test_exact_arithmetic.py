"""What one engine does by another way than the rest gives the same digits."""

from __future__ import annotations

from decimal import Context, Decimal

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttplan.engine.dialects import exact_sum, fetch, half_away

_DUCKDB = ibis.duckdb.connect()
_FEMTO = 10**15
_DIGITS = Context(prec=60)
_AMOUNTS = (
    st.integers(0, 10**31)
    | st.integers(1000 * _FEMTO - 2_000, 1000 * _FEMTO + 2_000)
    | st.integers(0, 10**16)
)


@settings(deadline=None)
@given(st.lists(_AMOUNTS, min_size=1, max_size=20))
def test_duckdb_rounds_costs_half_away_on_both_sides_of_1000_usd(femto: list[int]) -> None:
    amounts = [Decimal(n).scaleb(-15, _DIGITS) for n in femto]
    table = ibis.memtable(
        pa.table({"at": range(len(amounts)), "amount": pa.array(amounts, pa.decimal128(35, 15))})
    )
    rounded = table.select("at", rounded=half_away(table.amount, _DUCKDB))
    expected = [Decimal((n + 500) // 1000).scaleb(-12, _DIGITS) for n in femto]
    assert [
        row["rounded"] for row in fetch(rounded.order_by("at"), _DUCKDB).to_pylist()
    ] == expected


@pytest.mark.parametrize("value", [2**60, -(2**60), 2**63 - 1])
def test_sums_of_whole_numbers_pass_64_bits(value: int) -> None:
    table = ibis.memtable(pa.table({"value": pa.array([value] * 50, pa.int64())}))
    total = fetch(table.aggregate(total=exact_sum(table.value, _DUCKDB)), _DUCKDB)["total"][
        0
    ].as_py()
    assert total == 50 * value
