"""The baseline: costs as recorded, recomputed, or recomputed if the record is certainly wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.doctor_logs import Row, clean, plain, price, searching, table
from ttplan.doctor.cost_choice import CostChooser
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.prices import PriceBook

BOOK = PriceBook()


def choose_costs(
    rows: list[Row], cost: Any, book: PriceBook = BOOK, batch: int = 1_000, **options: Any
) -> tuple[list[Row], CostChooser]:
    chooser = CostChooser(cost, book, **options)
    batches = list(chooser(table(rows).to_batches(max_chunksize=batch)))
    assert all(part.schema == REQUEST_SCHEMA for part in batches)
    return pa.Table.from_batches(batches, REQUEST_SCHEMA).to_pylist(), chooser


def choose_cost(row: Row, cost: Any, book: PriceBook = BOOK) -> Row:
    return choose_costs([row], cost, book)[0][0]


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
    kept, chooser = choose_costs(rows, "recorded")
    assert kept == table(rows).to_pylist()
    assert (chooser.rows, chooser.recomputed, chooser.summary()) == (200, 0, ())


def test_all_choices_agree_on_a_clean_log() -> None:
    rows = clean()[:1_500]
    recorded = table(rows).to_pylist()
    doctored, chooser = choose_costs(rows, "doctor")
    assert doctored == recorded
    assert chooser.recomputed == 0
    recomputed, chooser = choose_costs(rows, "recomputed", batch=400)
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
    recomputed = choose_cost(wrong, "doctor")
    assert (recomputed["cost_usd"], recomputed["baseline_cost_usd"]) == (
        row["cost_usd"],
        row["cost_usd"],
    )
    assert (recomputed["recorded_cost_usd"], recomputed["cost_basis"]) == (
        wrong["cost_usd"],
        "doctor",
    )


@pytest.mark.parametrize("times", ["1.1", "0.5", "0.92", "3"])
def test_the_doctor_leaves_what_may_have_been_agreed(times: str) -> None:
    row = sample()
    row["cost_usd"] *= Decimal(times)
    assert choose_cost(row, "doctor")["cost_basis"] == "recorded"
    assert choose_cost(row, "doctor")["cost_usd"] == row["cost_usd"]


def test_web_searches_may_be_free_unless_recomputed() -> None:
    row = sample()
    free = searching(row, 2) | {"cost_usd": row["cost_usd"]}
    assert choose_cost(free, "doctor")["cost_usd"] == row["cost_usd"]
    assert choose_cost(free, "recomputed")["cost_usd"] == row["cost_usd"] + Decimal("0.02")


def test_a_failed_call_with_a_cost_is_free_only_if_recomputed() -> None:
    row = sample() | {"status": 400, "output_tokens": 0, "cost_usd": Decimal("0.01")}
    assert choose_cost(row, "doctor")["cost_usd"] == Decimal("0.01")
    assert choose_cost(row, "recomputed")["cost_usd"] == 0


def test_a_gateway_cache_hit_is_free_but_its_baseline_is_not() -> None:
    row = sample()
    hit = row | {"cached": True, "cost_usd": Decimal("0.5")}
    assert choose_cost(hit, "doctor")["cost_usd"] == 0
    free = row | {"cached": True, "cost_usd": Decimal(0)}
    assert choose_cost(free, "recomputed")["baseline_cost_usd"] == row["cost_usd"]
    assert (
        choose_cost(free, "doctor")["baseline_cost_usd"] == 0
    )  # nothing is certainly wrong with it
    kept = free | {"baseline_cost_usd": Decimal("0.07")}
    assert choose_cost(kept, "recomputed")["baseline_cost_usd"] == Decimal("0.07")


def test_a_baseline_of_its_own_stays() -> None:
    row = sample() | {"cost_usd": Decimal(0), "baseline_cost_usd": Decimal("0.4")}
    assert choose_cost(row, "doctor")["baseline_cost_usd"] == Decimal("0.4")
    assert choose_cost(row | {"recorded_cost_usd": Decimal(0)}, "recomputed")["cost_usd"] > 0


def test_what_has_no_tokens_or_no_price_keeps_its_cost() -> None:
    row = sample() | {"cost_usd": Decimal("0.2")}
    for change in (
        {"model": "our-own"},
        {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0},
    ):
        recomputed = choose_cost(row | change, "recomputed")
        assert (recomputed["cost_usd"], recomputed["cost_basis"]) == (Decimal("0.2"), "recorded")


def test_counts_that_are_wrong_in_themselves_are_set_right_first() -> None:
    row = sample() | {"input_tokens": 100, "cached_tokens": 300, "output_tokens": 10}
    # 100 at 2.5 and 300 at 1.25, 10 at 10
    assert choose_cost(row, "recomputed")["cost_usd"] == Decimal("0.000725")
    thinking = next(r for r in clean() if r["model"] == "o3" and plain(r))
    thinking |= {"output_tokens": 10, "reasoning_tokens": 90}
    thinking["cost_usd"] = price(thinking | {"reasoning_tokens": None})
    whole = price(thinking | {"output_tokens": 100})
    assert choose_cost(thinking, "recomputed")["cost_usd"] == whole
    assert choose_cost(thinking, "doctor")["cost_usd"] == whole
    assert choose_cost(thinking | {"cost_usd": whole}, "doctor")["cost_basis"] == "recorded"


def test_ones_own_prices_are_what_is_recomputed_with() -> None:
    own = PriceBook(
        {"openai:gpt-4o": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(0))}
    )
    row = sample()
    assert choose_cost(row, "recomputed", own)["cost_usd"] == row["input_tokens"] * Decimal(
        "0.000001"
    )


def test_rows_without_a_cost_are_refused_or_skipped() -> None:
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
        choose_costs(rows, "doctor")
    kept, chooser = choose_costs(rows, "doctor", skip=True)
    assert len(kept) == 29
    (left,) = chooser.left_out()
    assert (left.rows, left.examples) == (1, ("request call-4",))
    with pytest.raises(InputError, match="2 of 30 rows"):
        choose_costs(rows, "recorded")


def test_what_was_done_is_said() -> None:
    rows = [sample() | {"cost_usd": Decimal(0)}, clean()[1]]
    _, chooser = choose_costs(rows, "doctor")
    assert chooser.change_usd == sample()["cost_usd"]
    assert chooser.summary()[0].startswith("costs: 1 of 2 rows recomputed (cost='doctor'): ")
    assert chooser.summary()[0].endswith("USD more than recorded")


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of recorded, recomputed, doctor"):
        CostChooser("guessed")  # type: ignore[arg-type]


@pytest.mark.slow
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
    alone = {row["id"]: row["cost_usd"] for row in choose_costs(rows, "doctor")[0]}
    together, _ = choose_costs([rows[i] for i in picked], "doctor", batch=size)
    assert [row["cost_usd"] for row in together] == [
        alone[rows[i]["id"].replace("-", "")] for i in picked
    ]
