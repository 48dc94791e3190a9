"""Chooses the cost of each imported row: as recorded, recomputed, or recomputed if it is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property
from typing import Literal, get_args

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.doctor.cost_checks import CERTAIN_MASK, STRICT, check_costs
from ttplan.logs.report import EXAMPLES, SkippedRows
from ttplan.model.errors import InputError
from ttplan.prices.book import PriceBook

CostBasis = Literal["recorded", "recomputed", "doctor"]
CERTAIN = ("recorded_free", "cost_missing", "cache_hit_billed")
"""Findings that are wrong under any contract with a provider, like a cost that a mistake explains
exactly."""
_NO_COST = "cost_usd: no cost is recorded, and no price is known to compute it with"


class CostChooser:
    """Chooses the cost of each row of a log: takes batches, yields batches of the same columns.

    "recorded" keeps the logged cost. "recomputed" computes it from the row's tokens and the price
    at its time, if a price is known and there are tokens. "doctor" keeps the logged cost unless it
    is certainly wrong: 0 with tokens and a price that is not 0; missing; a cost for a response from
    the gateway's own cache; cached tokens, cache writes, audio or images at the plain rate; a long
    prompt at the rate of short ones; reasoning left out. Each row is considered alone, so it gets
    the same cost whatever it is imported with.

    Sets `cost_usd`, `baseline_cost_usd` and `cost_basis` of changed rows; keeps
    `recorded_cost_usd`. The baseline follows the cost if both were equal. The baseline of a gateway
    cache hit without one becomes the cost that the call would have had.
    """

    def __init__(
        self, cost: CostBasis, book: PriceBook | None = None, *, skip: bool = False
    ) -> None:
        """`book` is required unless `cost` is "recorded". With `skip`, rows without any cost are
        left out, otherwise they are an error. Raises InputError if `cost` is not valid."""
        if cost not in get_args(CostBasis):
            raise InputError(f"cost is {cost!r}; expected one of {', '.join(get_args(CostBasis))}")
        self.cost = cost
        self._book = book or PriceBook()
        self._skip = skip
        self._without = Counter[str]()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self.rows = 0
        """How many rows were processed."""
        self.recomputed = 0
        """How many of them have a recomputed cost."""
        self.change_usd = Decimal(0)
        """Change of the cost of rows that had a recorded one, in USD."""

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches with the chosen cost. Raises InputError at the end if a row has none."""
        for batch in batches:
            costed = batch if self.cost == "recorded" or not batch.num_rows else self._choose(batch)
            self.rows += batch.num_rows
            yield self._with_cost(costed)
        if self._without and not self._skip:
            (reason, count), *_ = self._without.most_common()
            total = sum(self._without.values())
            raise InputError(
                f"{total:,} of {self.rows:,} rows have no cost, so nothing was imported;"
                f" {reason}: {count:,}, such as {self._examples[reason][0]}. Give a price in a"
                " price file with prices, or leave them out with on_bad_rows='skip'"
            )

    def left_out(self) -> tuple[SkippedRows, ...]:
        """The rows without a cost, by model, with examples."""
        return tuple(
            SkippedRows(reason=r, rows=n, examples=tuple(self._examples[r]))
            for r, n in self._without.most_common()
        )

    def summary(self) -> tuple[str, ...]:
        """What was changed, for a report; empty if costs are as recorded."""
        if self.cost == "recorded":
            return ()
        more = "more" if self.change_usd >= 0 else "less"
        return (
            f"costs: {self.recomputed:,} of {self.rows:,} rows recomputed (cost='{self.cost}'): "
            f"{abs(self.change_usd):,.6f} USD {more} than recorded",
        )

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Started when the first cost is chosen, since recorded costs need none."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def _choose(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Row numbers as ids: the ids of a log may repeat, and the order of rows has to be kept.
        numbers = pa.array(range(batch.num_rows)).cast(pa.string())
        place = batch.schema.get_field_index("id")
        self._connection.register("batch", batch.set_column(place, "id", numbers))
        checks = check_costs(self._connection, "batch", batch.schema.names, self._book, STRICT)
        query = (_RECOMPUTED if self.cost == "recomputed" else _CERTAIN).format(
            priced=checks.priced, wrong=checks.wrong
        )
        table = self._connection.sql(
            f"SELECT cost, full_usd FROM ({query}) ORDER BY id::BIGINT"  # noqa: S608
        ).to_arrow_table()
        self._connection.unregister("batch")
        cost, full = (table[name].combine_chunks().cast(_MONEY) for name in ("cost", "full_usd"))
        return self._replaced(batch, cost, full)

    def _replaced(self, batch: pa.RecordBatch, cost: pa.Array, full: pa.Array) -> pa.RecordBatch:
        """The batch with the costs that are not null, and the columns that depend on them."""
        changed = pc.is_valid(cost)
        recorded, baseline, arrived = (
            batch["recorded_cost_usd"],
            batch["baseline_cost_usd"],
            batch["cost_usd"],
        )
        recorded = pc.if_else(
            pc.equal(pc.fill_null(batch["cost_basis"], "recorded"), "recorded"),
            pc.coalesce(recorded, arrived),
            recorded,
        )
        self.recomputed += pc.sum(changed).as_py() or 0
        both = pc.and_(changed, pc.is_valid(recorded))
        self.change_usd += _sum(cost.filter(both)) - _sum(recorded.filter(both))
        follows = pc.fill_null(pc.equal(baseline, arrived), True)
        hit = pc.and_(
            pc.fill_null(batch["cached"], False), pc.fill_null(pc.equal(baseline, _ZERO), True)
        )
        new_baseline = pc.if_else(
            hit, pc.coalesce(full, baseline), pc.if_else(follows, cost, baseline)
        )
        columns = {
            "cost_usd": pc.if_else(changed, cost, arrived),
            "baseline_cost_usd": pc.if_else(changed, new_baseline, baseline),
            "recorded_cost_usd": recorded,
            "cost_basis": pc.if_else(
                changed, self.cost, pc.fill_null(batch["cost_basis"], "recorded")
            ),
        }
        for name, values in columns.items():
            field = batch.schema.field(name)
            batch = batch.set_column(
                batch.schema.get_field_index(name), field, values.cast(field.type)
            )
        return batch

    def _with_cost(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        lacking = batch.filter(pc.is_null(batch["cost_usd"]))
        if not lacking.num_rows:
            return batch
        ids = pc.coalesce(lacking["source_id"], lacking["id"])
        for provider, model, shown in zip(
            *(c.to_pylist() for c in (lacking["provider"], lacking["model"], ids)), strict=True
        ):
            reason = f"{_NO_COST} ({provider}:{model})"
            self._without[reason] += 1
            if len(self._examples[reason]) < EXAMPLES:
                self._examples[reason].append(f"request {shown}")
        return batch.filter(pc.is_valid(batch["cost_usd"]))


def _sum(amounts: pa.Array) -> Decimal:
    total: Decimal | None = pc.sum(amounts).as_py()
    return total or Decimal(0)


_MONEY = pa.decimal128(38, 12)
_ZERO = pa.scalar(Decimal(0), _MONEY)
# Rows without tokens keep the recorded cost. If a count is wrong, the cost of its correction is
# added.
_RECOMPUTED = """
    SELECT p.id, p.full_usd, CASE
        WHEN w.verdict = 'tokens_missing' THEN NULL
        WHEN w.verdict IN ('cached_beside_input', 'reasoning_lost')
            THEN p.expected_usd + w.effect_usd
        ELSE p.expected_usd END AS cost
    FROM {priced} p LEFT JOIN (
        SELECT * FROM ({wrong})
        WHERE verdict IN ('tokens_missing', 'cached_beside_input', 'reasoning_lost')
    ) w USING (id)
"""
_KINDS = ", ".join(f"'{kind}'" for kind in CERTAIN)
_CERTAIN = f"""
    SELECT p.id, p.full_usd, CASE
        WHEN w.verdict IN ({_KINDS}) OR (w.mask & {CERTAIN_MASK}) > 0 THEN p.expected_usd
        WHEN w.verdict = 'reasoning_lost' AND abs(p.recorded_usd - p.expected_usd) <= 0.0000005
            THEN p.expected_usd + w.effect_usd
        END AS cost
    FROM {{priced}} p LEFT JOIN ({{wrong}}) w USING (id)
"""  # noqa: S608
