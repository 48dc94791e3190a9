"""What a baseline is made of: as recorded, recomputed, or recomputed where the record is certainly wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.doctor_logs import Row, clean, plain, price, table
from ttplan.doctor.cost_choice import CostChooser
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.prices import PriceBook

BOOK = PriceBook()


def chosen(
    rows: list[Row], cost: Any, book: PriceBook = BOOK, batch: int = 1_000, **options: Any
) -> tuple[list[Row], CostChooser]:
    chooser = CostChooser(cost, book, **options)
    found = list(chooser(table(rows).to_batches(max_chunksize=batch)))
    assert all(part.schema == REQUEST_SCHEMA for part in found)
    return pa.Table.from_batches(found, REQUEST_SCHEMA).to_pylist(), chooser


def one(row: Row, cost: Any, book: PriceBook = BOOK) -> Row:
    return chosen([row], cost, book)[0][0]


def sample() -> Row:
    """An answered chat call with cached tokens."""
    return next(
        row
        for row in clean()
        if row["model"] == "gpt-4o" and row["cached_tokens"] > 100 and plain(row)
    )


def test_recorded_keeps_every_row_as_it_is() -> None:
    rows = clean()[:200]
    rows[3]["cost_usd"] = Decimal(0)
    found, chooser = chosen(rows, "recorded")
    assert found == table(rows).to_pylist()
    assert (chooser.rows, chooser.recomputed, chooser.summary()) == (200, 0, ())


def test_a_clean_log_is_the_same_by_all_choices_but_for_where_its_costs_are_from() -> None:
    rows = clean()[:1_500]
    recorded = table(rows).to_pylist()
    doctored, chooser = chosen(rows, "doctor")
    assert doctored == recorded
    assert chooser.recomputed == 0
    recomputed, chooser = chosen(rows, "recomputed", batch=400)
    assert chooser.recomputed == len(rows)
    for before, after in zip(recorded, recomputed, strict=True):
        assert after["cost_basis"] == "recomputed"
        assert abs(after["cost_usd"] - before["cost_usd"]) < Decimal("1e-8")
        assert {
            k: v
            for k, v in after.items()
            if k not in ("cost_usd", "baseline_cost_usd", "cost_basis")
        } == {
            k: v
            for k, v in before.items()
            if k not in ("cost_usd", "baseline_cost_usd", "cost_basis")
        }


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda row: Decimal(0), id="recorded as 0"),
        pytest.param(lambda row: None, id="no cost"),
        pytest.param(lambda row: price(row | {"cached_tokens": 0}), id="cached in full"),
    ],
)
def test_the_doctor_recomputes_what_is_certainly_wrong(spoil: Any) -> None:
    row = sample()
    wrong = row | {"cost_usd": spoil(row)}
    wrong |= {"recorded_cost_usd": wrong["cost_usd"]}
    found = one(wrong, "doctor")
    assert (found["cost_usd"], found["baseline_cost_usd"]) == (row["cost_usd"], row["cost_usd"])
    assert (found["recorded_cost_usd"], found["cost_basis"]) == (wrong["cost_usd"], "doctor")


@pytest.mark.parametrize("times", ["1.1", "0.5", "0.92", "3"])
def test_the_doctor_leaves_what_may_have_been_agreed(times: str) -> None:
    row = sample()
    row["cost_usd"] *= Decimal(times)
    assert one(row, "doctor")["cost_basis"] == "recorded"
    assert one(row, "doctor")["cost_usd"] == row["cost_usd"]


def test_a_failed_call_with_a_cost_is_left_by_the_doctor_and_free_when_recomputed() -> None:
    row = sample() | {"status": 400, "output_tokens": 0, "cost_usd": Decimal("0.01")}
    assert one(row, "doctor")["cost_usd"] == Decimal("0.01")
    assert one(row, "recomputed")["cost_usd"] == 0


def test_an_answer_of_the_gateways_cache_costs_nothing_and_its_baseline_is_what_it_would_have() -> (
    None
):
    row = sample()
    hit = row | {"cached": True, "cost_usd": Decimal("0.5")}
    assert one(hit, "doctor")["cost_usd"] == 0
    free = row | {"cached": True, "cost_usd": Decimal(0)}
    assert one(free, "recomputed")["baseline_cost_usd"] == row["cost_usd"]
    assert one(free, "doctor")["baseline_cost_usd"] == 0  # nothing is certainly wrong with it
    kept = free | {"baseline_cost_usd": Decimal("0.07")}
    assert one(kept, "recomputed")["baseline_cost_usd"] == Decimal("0.07")


def test_a_baseline_of_its_own_stays() -> None:
    row = sample() | {"cost_usd": Decimal(0), "baseline_cost_usd": Decimal("0.4")}
    assert one(row, "doctor")["baseline_cost_usd"] == Decimal("0.4")
    assert one(row | {"recorded_cost_usd": Decimal(0)}, "recomputed")["cost_usd"] > 0


def test_what_has_no_tokens_or_no_price_keeps_its_cost() -> None:
    row = sample() | {"cost_usd": Decimal("0.2")}
    for change in (
        {"model": "our-own"},
        {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0},
    ):
        found = one(row | change, "recomputed")
        assert (found["cost_usd"], found["cost_basis"]) == (Decimal("0.2"), "recorded")


def test_counts_that_are_wrong_in_themselves_are_set_right_first() -> None:
    row = sample() | {"input_tokens": 100, "cached_tokens": 300, "output_tokens": 10}
    # 100 at 2.5 and 300 at 1.25, 10 at 10
    assert one(row, "recomputed")["cost_usd"] == Decimal("0.000725")
    thinking = next(r for r in clean() if r["model"] == "o3" and plain(r))
    thinking |= {"output_tokens": 10, "reasoning_tokens": 90}
    thinking["cost_usd"] = price(thinking | {"reasoning_tokens": None})
    whole = price(thinking | {"output_tokens": 100})
    assert one(thinking, "recomputed")["cost_usd"] == whole
    assert one(thinking, "doctor")["cost_usd"] == whole
    assert one(thinking | {"cost_usd": whole}, "doctor")["cost_basis"] == "recorded"


def test_ones_own_prices_are_what_is_recomputed_with() -> None:
    own = PriceBook(
        {"openai:gpt-4o": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(0))}
    )
    row = sample()
    assert one(row, "recomputed", own)["cost_usd"] == row["input_tokens"] * Decimal("0.000001")


def test_rows_without_any_cost_refuse_the_file_or_are_left_out_and_counted() -> None:
    rows = clean()[:30]
    rows[4] |= {
        "cost_usd": None,
        "recorded_cost_usd": None,
        "model": "our-own",
        "source_id": "call-4",
    }
    rows[5] |= {"cost_usd": None, "recorded_cost_usd": None}
    with pytest.raises(
        InputError, match=r"1 of 30 rows have no cost.*openai:our-own\): 1, such as request call-4"
    ):
        chosen(rows, "doctor")
    found, chooser = chosen(rows, "doctor", skip=True)
    assert len(found) == 29
    (left,) = chooser.left_out()
    assert (left.rows, left.examples) == (1, ("request call-4",))
    with pytest.raises(InputError, match="2 of 30 rows"):
        chosen(rows, "recorded")


def test_what_was_done_is_said() -> None:
    rows = [sample() | {"cost_usd": Decimal(0)}, clean()[1]]
    _, chooser = chosen(rows, "doctor")
    assert chooser.change_usd == sample()["cost_usd"]
    assert chooser.summary()[0].startswith("costs: 1 of 2 rows recomputed (cost='doctor'): ")
    assert chooser.summary()[0].endswith("USD more than recorded")


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of recorded, recomputed, doctor"):
        CostChooser("guessed")  # type: ignore[arg-type]


@settings(deadline=None, max_examples=10, phases=[Phase.generate])
@given(st.lists(st.integers(0, 399), min_size=1, max_size=60), st.integers(1, 50))
def test_a_row_gets_the_same_cost_whatever_it_comes_with(picked: list[int], size: int) -> None:
    rows = clean()[:400]
    for i, row in enumerate(rows):
        row["cost_usd"] = [
            row["cost_usd"],
            Decimal(0),
            row["cost_usd"] * 2,
            price(row | {"cached_tokens": 0}),
        ][i % 4]
    alone = {row["id"]: row["cost_usd"] for row in chosen(rows, "doctor")[0]}
    together, _ = chosen([rows[i] for i in picked], "doctor", batch=size)
    assert [row["cost_usd"] for row in together] == [
        alone[rows[i]["id"].replace("-", "")] for i in picked
    ]
