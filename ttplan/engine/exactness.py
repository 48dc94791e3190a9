"""Checks, once per connection and on a few rows, that an engine computes a replay exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.cache import has_bit
from ttplan.engine.cost import PRICE_TYPE, token_cost
from ttplan.engine.dialects import EXACT_TYPE, ROW_MONEY_TYPE, fetch, half_away, money_type
from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.summary import usd
from ttplan.model.errors import InputError

_EXACT: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""The connections that meet all needs. The others are checked again, since a setting may fix them.
"""
_SETTINGS = {
    (
        "pyspark",
        "find text as it is written",
    ): "set spark.sql.parser.escapedStringLiterals to false",
}
"""The setting to change, by backend and unmet need."""


class Need(NamedTuple):
    """What an engine must be able to do: a description, an expression over `_ROWS`, and its exact
    value."""

    description: str
    expression: Callable[[ir.Table, Any], ir.Scalar]
    expected: Any


# Two rows, so that no value is a constant that a planner folds by other means than the engine.
_ROWS = {
    "wide": ["49999999999999999999999999999999999999", "12345678901234567890123456789012345678"],
    "money": ["9999999999999999.999999999999", "0.000000000001"],
    "tokens": ["999999999999", "1"],
    "price": ["1000.123456789012345", "0.000000000000500"],
    "square": ["1099511627776", "3"],
    "size": [2.5, 0.5],
    "text": ["50% _\\ 'x' \"İΣς\" ${env:HOME} DROP", "Chat"],
    "tag": ["", None],
    "at": [
        datetime(2026, 5, 1, 0, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 5, 1, 1, tzinfo=UTC),
    ],
}


def _money(table: ir.Table, engine: Any) -> ir.DecimalColumn:
    return table.money.cast(money_type(engine))


def _square(table: ir.Table) -> ir.DecimalColumn:
    return table.square.cast("decimal(19, 0)")


def _half(table: ir.Table, engine: Any) -> ir.DecimalColumn:
    return (
        _money(table, engine) + _money(table, engine) + ibis.literal(Decimal("0.5"), ROW_MONEY_TYPE)
    )


NEEDS = (
    Need(
        "sum decimals to 38 digits exactly",
        lambda t, engine: t.wide.cast(EXACT_TYPE).sum().cast(EXACT_TYPE),
        Decimal("62345678901234567890123456789012345677"),
    ),
    Need("sum money exactly", lambda t, engine: _money(t, engine).sum(), Decimal(10**16)),
    Need(
        "subtract money exactly",
        lambda t, engine: (
            _money(t, engine) - ibis.literal(Decimal("0.000000000002"), ROW_MONEY_TYPE)
        ).max(),
        Decimal("9999999999999999.999999999997"),
    ),
    Need(
        "multiply tokens by a price exactly, rounding half away from zero to 12 digits",
        lambda t, engine: half_away(
            token_cost(t.tokens.cast("int64"), t.price.cast(PRICE_TYPE)), engine
        ).sum(),
        # 1000123456788012.221543210987655, and half of the last digit.
        Decimal("1000123456788012.221543210989"),
    ),
    Need(
        "multiply whole decimals to 38 digits exactly",
        lambda t, engine: (_square(t) * _square(t)).cast(EXACT_TYPE).sum().cast(EXACT_TYPE),
        Decimal(2**80 + 9),
    ),
    Need(
        "take the remainder of decimals exactly",
        lambda t, engine: (
            _half(t, engine) % ibis.literal(Decimal("123456.789012345678"), "decimal(32, 12)")
        ).max(),
        # 2 * (10^28 - 1) + 5 * 10^11 and 2 + 5 * 10^11, in 10^-12 USD.
        usd(max((2 * 10**28 - 2 + 5 * 10**11) % 123456789012345678, 5 * 10**11 + 2)),
    ),
    Need(
        "divide whole numbers rounding down",
        lambda t, engine: (((t["size"] * 2).cast("int64") * 2 + 1) // 2).sum(),
        6,
    ),
    Need(
        "find text as it is written",
        lambda t, engine: t.text.contains("% _\\ 'x' \"İΣς\" ${env:HOME} D").cast("int64").sum(),
        1,
    ),
    Need(
        "compare text to the letter",
        lambda t, engine: t.text.isin(["chat", "Chat ", "CHAT"]).cast("int64").sum(),
        0,
    ),
    Need(
        "test the bits of whole numbers",
        lambda t, engine: has_bit(t.square.cast("int64"), 1).cast("int64").sum(),
        1,
    ),
    Need(
        "tell the hour of an instant",
        lambda t, engine: period_start(t["at"], 3_600).sum(),
        2 * 1_777_593_600 + 3_600,
    ),
    Need(
        "tell null from empty text",
        lambda t, engine: (t.tag == "").ifelse(1, 2).cast("int64").sum(),
        3,
    ),
)


def require_exact(backend: Any) -> None:
    """Raise InputError if an Ibis backend does not meet `NEEDS`. DuckDB does and is not checked."""
    if backend.name == "duckdb" or _EXACT.get(id(backend)) is backend:
        return
    short = shortfall(backend)
    if short is not None:
        advice = next(
            (
                setting
                for (name, need), setting in _SETTINGS.items()
                if name == backend.name and short.startswith(need)
            ),
            None,
        )
        raise InputError(
            f"this backend ({backend.name}) cannot {short}: a replay there would not be exact. "
            + (
                advice
                or "Replay in DuckDB, which reads Parquet; docs/backends.md lists the requirements"
            )
        )
    _EXACT[id(backend)] = backend


def shortfall(backend: Any) -> str | None:
    """The first of `NEEDS` that a backend does not meet, with its value or error; None if it meets
    all."""
    try:
        values = _evaluate(backend, NEEDS)
    except Exception:  # any engine's error: one need at a time shows which one it cannot meet
        return next(
            filter(None, (_fault(backend, need) for need in NEEDS)),
            "compute in one query what it computes in many",
        )
    return next(
        (
            _describe(need, value)
            for need, value in zip(NEEDS, values, strict=True)
            if value != need.expected
        ),
        None,
    )


def _fault(backend: Any, need: Need) -> str | None:
    try:
        (value,) = _evaluate(backend, (need,))
    except Exception as error:
        return f"{need.description} ({type(error).__name__})"
    return None if value == need.expected else _describe(need, value)


def _evaluate(backend: Any, needs: Sequence[Need]) -> list[Any]:
    rows = ibis.memtable(pa.table(_ROWS))
    values = rows.aggregate(
        **{f"n{i}": need.expression(rows, backend) for i, need in enumerate(needs)}
    )
    return list(fetch(values, backend).to_pylist()[0].values())


def _describe(need: Need, value: Any) -> str:
    return f"{need.description} (expected {need.expected}, got {value})"
