"""Each planted mistake is reported as its kind, with its effect; a clean log has no finding."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import pytest

from tests.support.doctor_logs import NOW, START, Row, clean, plain, price, searching, table
from ttplan.doctor.check import check_rows
from ttplan.doctor.gaps import find_gaps
from ttplan.doctor.kinds import FINDING_KINDS
from ttplan.doctor.patterns import Cell, explain, factor_in_words
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.diagnosis import Diagnosis, Finding
from ttplan.prices import PriceBook

BOOK = PriceBook()


def check(rows: list[Row], book: PriceBook = BOOK) -> Diagnosis:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    arrived = table(rows)
    connection.register("requests", arrived)
    return check_rows(connection, "requests", arrived.schema.names, book, log="log", at=NOW)


def test_a_clean_log_has_no_finding() -> None:
    rows = clean()
    diagnosis = check(rows)
    assert diagnosis.findings == ()
    assert diagnosis.healthy
    assert diagnosis.rows == len(rows)
    assert diagnosis.compared == diagnosis.agreeing == len(rows)
    assert (
        diagnosis.recorded_usd
        == diagnosis.compared_recorded_usd
        == sum(row["cost_usd"] for row in rows)
    )
    # Some prices have a digit more than a price per million here.
    assert abs(diagnosis.compared_expected_usd - diagnosis.recorded_usd) < Decimal("1e-6")


def test_billed_web_searches_are_explained() -> None:
    rows = [
        searching(row, i % 4) if row["model"] == "claude-haiku-4-5" and plain(row) else row
        for i, row in enumerate(clean())
    ]
    diagnosis = check(rows)
    assert diagnosis.findings == ()
    assert diagnosis.agreeing == len(rows)
    assert diagnosis.compared_expected_usd > sum(row["cost_usd"] for row in clean()) + 1


Planted = tuple[list[Row], list[Row], Decimal]
"""All rows, the spoiled ones, and how correcting them changes their cost."""


def of(rows: list[Row], model: str, every: int = 3) -> list[Row]:
    """Some answered calls of one model."""
    return [
        row for row in rows if row["model"] == model and row["provider"] != "azure" and plain(row)
    ][::every]


def with_cost(rows: list[Row], spoiled: list[Row], cost: Callable[[Row], Decimal]) -> Planted:
    effect = Decimal(0)
    for row in spoiled:
        before = row["cost_usd"]
        row["cost_usd"] = cost(row)
        effect += before - row["cost_usd"]
    return rows, spoiled, effect


def recorded_free() -> Planted:
    rows = clean()
    return with_cost(rows, of(rows, "gpt-4o"), lambda row: Decimal(0))


def cost_missing() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o")
    effect = sum((row["cost_usd"] for row in spoiled), Decimal(0))
    for row in spoiled:
        row |= {"cost_usd": None, "recorded_cost_usd": None}
    return rows, spoiled, effect


def cached_in_full() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "gpt-4o", 1) if row["cached_tokens"] > 100]
    return with_cost(rows, spoiled, lambda row: price(row | {"cached_tokens": 0}))


def cached_in_full_and_writes_too() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "claude-haiku-4-5", 1) if row["cached_tokens"] > 400]
    return with_cost(
        rows, spoiled, lambda row: price(row | {"cached_tokens": 0, "cache_write_tokens": 0})
    )


def writes_as_input() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "claude-haiku-4-5", 1) if row["cache_write_tokens"] > 100]
    return with_cost(rows, spoiled, lambda row: price(row | {"cache_write_tokens": 0}))


def tier_ignored() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "gemini-2.5-pro", 1) if row["input_tokens"] > 200_000]
    return with_cost(rows, spoiled, _at_base)


def _at_base(row: Row) -> Decimal:
    fresh: int = row["input_tokens"] - row["cached_tokens"]
    cached, out = Decimal(row["cached_tokens"]), Decimal(row["output_tokens"])
    return (fresh * Decimal("1.25") + cached * Decimal("0.125") + out * 10).scaleb(-6)


def media_as_text() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "gpt-audio", 1) if row["input_audio_tokens"] > 10]
    return with_cost(
        rows, spoiled, lambda row: price(row | {"input_audio_tokens": 0, "output_audio_tokens": 0})
    )


def searches_ignored() -> Planted:
    rows = clean()
    spoiled = of(rows, "claude-haiku-4-5")
    for i, row in enumerate(spoiled):
        row |= searching(row, 1 + i % 3)
    return with_cost(rows, spoiled, price)


def reasoning_lost() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "o3", 1) if row["reasoning_tokens"] > 100]
    return with_cost(
        rows,
        spoiled,
        lambda row: price(row | {"output_tokens": row["output_tokens"] - row["reasoning_tokens"]}),
    )


def reasoning_lost_from_the_output() -> Planted:
    rows = clean()
    spoiled = [
        row for row in of(rows, "o3", 1) if row["reasoning_tokens"] > row["output_tokens"] // 2 + 1
    ]
    effect = Decimal(0)
    for row in spoiled:
        row["output_tokens"] -= row["reasoning_tokens"]
        before, row["cost_usd"] = row["cost_usd"], price(row)
        effect += before - row["cost_usd"]
    return rows, spoiled, effect


def factor(times: str, every: int = 1) -> Callable[[], Planted]:
    def plant() -> Planted:
        rows = clean()
        return with_cost(
            rows, of(rows, "gpt-4o-mini", every), lambda row: row["cost_usd"] * Decimal(times)
        )

    return plant


def unpriced() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o-mini", 5)
    for row in spoiled:
        row["model"] = "our-own-model"
    return rows, spoiled, Decimal(0)


def tokens_missing() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o", 4)
    for row in spoiled:
        row |= {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0}
    return rows, spoiled, -sum((row["cost_usd"] for row in spoiled), Decimal(0))


def output_missing() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o", 4)
    effect = Decimal(0)
    for row in spoiled:
        effect -= row["output_tokens"] * Decimal("0.00001")
        row["output_tokens"] = 0
    return rows, spoiled, effect


def total_unexplained() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o", 5)
    for row in spoiled:
        row["usage_reading"] = "unexplained"
    return rows, spoiled, Decimal(0)


def cached_beside_input() -> Planted:
    rows = clean()
    spoiled = [row for row in of(rows, "gpt-4o", 1) if row["cached_tokens"] > 0][::2]
    effect = Decimal(0)
    for row in spoiled:
        fresh = row["input_tokens"] - row["cached_tokens"]
        row |= {"input_tokens": fresh // 9, "cached_tokens": fresh}
        whole = row | {"input_tokens": fresh // 9 + fresh}
        row["cost_usd"] = price(whole)
        effect += row["cost_usd"] - price(row | {"cached_tokens": row["input_tokens"]})
    return rows, spoiled, effect


def cache_hit_billed() -> Planted:
    rows = clean()
    spoiled = [row for row in rows if row["cached"]]
    return with_cost(rows, spoiled, lambda row: Decimal("0.01"))


def failed_billed() -> Planted:
    rows = clean()
    spoiled = [row for row in rows if row["status"] == 429]
    return with_cost(rows, spoiled, lambda row: Decimal("0.002"))


def retry_billed() -> Planted:
    rows = clean()
    retried = of(rows, "gpt-4o", 6)
    attempts = [
        row
        | {
            "id": f"f{row['id'][1:]}",
            "ts": row["ts"] - timedelta(seconds=30),
            "status": 503,
            "output_tokens": 0,
        }
        for row in retried
    ]
    rows += attempts
    for row in attempts:
        row["cost_usd"] = Decimal("0.001")
    return rows, attempts, Decimal("-0.001") * len(attempts)


def repeated_id() -> Planted:
    rows = clean()
    repeated = [row | {"latency_ms": row["latency_ms"] + 1} for row in of(rows, "gpt-4o", 8)]
    return rows + repeated, repeated, -sum((row["cost_usd"] for row in repeated), Decimal(0))


def logged_twice() -> Planted:
    rows = clean()
    repeated = [row | {"id": f"e{row['id'][1:]}"} for row in of(rows, "gpt-4o", 8)]
    return rows + repeated, repeated, -sum((row["cost_usd"] for row in repeated), Decimal(0))


def clock_skew() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o", 9)
    for i, row in enumerate(spoiled):
        row["ts"] = (
            NOW + timedelta(hours=1, minutes=i)
            if i % 2
            else datetime(1970, 1, 21, tzinfo=UTC) + timedelta(minutes=i)
        )
    return rows, spoiled, -sum((row["cost_usd"] for row in spoiled), Decimal(0))


def latency_zero() -> Planted:
    rows = clean()
    spoiled = of(rows, "gpt-4o", 2)
    for row in spoiled:
        row["latency_ms"] = 0
    return rows, spoiled, Decimal(0)


PLANTS: dict[str, tuple[str, Callable[[], Planted]]] = {
    "recorded as 0": ("recorded_free", recorded_free),
    "no cost": ("cost_missing", cost_missing),
    "cached in full": ("cached_in_full", cached_in_full),
    "cached and written in full": ("cached_in_full", cached_in_full_and_writes_too),
    "writes as input": ("writes_as_input", writes_as_input),
    "tier ignored": ("tier_ignored", tier_ignored),
    "audio as text": ("media_as_text", media_as_text),
    "searches not billed": ("searches_ignored", searches_ignored),
    "reasoning not billed": ("reasoning_lost", reasoning_lost),
    "reasoning not in the output": ("reasoning_lost", reasoning_lost_from_the_output),
    "euros": ("constant_factor", factor("0.92")),
    "markup of some": ("constant_factor", factor("1.1", every=4)),
    "batch": ("constant_factor", factor("0.5", every=2)),
    "no price": ("unpriced", unpriced),
    "no tokens": ("tokens_missing", tokens_missing),
    "no output tokens": ("tokens_missing", output_missing),
    "a total of its own": ("total_unexplained", total_unexplained),
    "cached beside input": ("cached_beside_input", cached_beside_input),
    "billed cache hits": ("cache_hit_billed", cache_hit_billed),
    "billed failures": ("failed_billed", failed_billed),
    "billed retries": ("retry_billed", retry_billed),
    "an id twice": ("repeated_id", repeated_id),
    "a call twice": ("logged_twice", logged_twice),
    "clock": ("clock_skew", clock_skew),
    "no latency": ("latency_zero", latency_zero),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_mistake_is_the_only_finding(name: str) -> None:
    kind, plant = PLANTS[name]
    rows, spoilt, effect = plant()
    assert len(spoilt) >= 20
    findings = check(rows).findings
    assert {finding.kind for finding in findings} == {kind}
    assert sum(finding.count for finding in findings) == len(spoilt)
    assert abs(sum((f.effect_usd or Decimal(0) for f in findings), Decimal(0)) - effect) < Decimal(
        "1e-6"
    )
    ids = {row["id"] for row in spoilt}
    for finding in findings:
        assert 0 < len(finding.examples) <= 3
        assert all(set(example.split(" = ")) & ids for example in finding.examples)
        assert (finding.title, finding.in_a_plan, finding.remedy) == (
            FINDING_KINDS[kind].title,
            FINDING_KINDS[kind].in_a_plan,
            FINDING_KINDS[kind].remedy,
        )


def test_a_tier_without_a_price_says_since_when_it_has_one() -> None:
    group = ("anthropic", "claude-haiku-4-5", "batch")
    schedule = PriceBook().schedule(*group[:2], None, group[2])
    assert schedule is not None
    start = schedule.periods[0].start
    assert start is not None
    rows = clean()
    for row in rows:
        row |= dict(zip(("provider", "model", "service_tier"), group, strict=True))
        row["ts"] -= timedelta(days=365)
    (finding,) = [found for found in check(rows).findings if found.kind == "unpriced"]
    assert finding.detail == f"a price for batch is known since {start:%Y-%m-%d}"


def test_every_kind_is_planted() -> None:
    elsewhere = {"gap", "cost_off", "totals_differ"}
    assert {kind for kind, _ in PLANTS.values()} == set(FINDING_KINDS) - elsewhere


def test_costs_without_a_pattern_are_said_to_be_off() -> None:
    rows = clean()
    spoiled = of(rows, "gpt-4o", 5)
    _, _, effect = with_cost(
        rows, spoiled, lambda row: row["cost_usd"] * (1 + Decimal(int(row["id"], 16) % 97 + 3) / 50)
    )
    (finding,) = check(rows).findings
    assert (finding.kind, finding.count, finding.provider, finding.model) == (
        "cost_off",
        len(spoiled),
        "openai",
        "gpt-4o",
    )
    assert finding.effect_usd is not None
    assert abs(finding.effect_usd - effect) < Decimal("1e-6")


def test_a_mistake_and_a_factor_are_told_apart_in_one_model() -> None:
    rows = clean()
    full = [row for row in of(rows, "gpt-4o", 1) if row["cached_tokens"] > 100][::2]
    taken = {row["id"] for row in full}
    rest = [row for row in of(rows, "gpt-4o", 1) if row["id"] not in taken]
    with_cost(rows, full, lambda row: price(row | {"cached_tokens": 0}))
    with_cost(rows, rest, lambda row: row["cost_usd"] * Decimal("0.5"))
    diagnosis = {finding.kind: finding for finding in check(rows).findings}
    assert set(diagnosis) == {"cached_in_full", "constant_factor"}
    assert (
        abs(diagnosis["cached_in_full"].count - len(full)) <= 3
    )  # some happen to be twice the other's price
    assert "batch prices" in diagnosis["constant_factor"].detail


def test_rounding_to_a_millionth_is_no_finding() -> None:
    rows = clean()
    for row in rows:
        row["cost_usd"] = round(row["cost_usd"], 6)
    assert [f for f in check(rows).findings if f.kind != "recorded_free"] == []


def test_hours_without_requests_are_reported_with_their_value() -> None:
    rows = clean()
    gone = [
        row
        for row in rows
        if START + timedelta(days=3, hours=5) <= row["ts"] < START + timedelta(days=3, hours=9)
    ]
    kept = [row for row in rows if row not in gone]
    (finding,) = check(kept).findings
    assert (finding.kind, finding.count, finding.weighs) == ("gap", 4, False)
    assert finding.examples == ("2026-10-22 05:00 to 2026-10-22 09:00 UTC, usually 120 requests",)
    mean = sum((row["cost_usd"] for row in kept), Decimal(0)) / len(kept)
    assert finding.effect_usd is not None
    assert abs(finding.effect_usd - 120 * mean) < Decimal("1e-6")


def test_nights_and_weekends_are_no_gaps() -> None:
    monday = int(START.timestamp()) // 3600
    office = {
        monday + 24 * day + hour: 500 for day in range(12) for hour in range(8, 18) if day % 7 < 5
    }
    assert list(find_gaps(office)) == []
    missing = {
        hour: n
        for hour, n in office.items()
        if not monday + 24 * 8 + 10 <= hour < monday + 24 * 8 + 12
    }
    (gap,) = find_gaps(missing)
    assert (gap.start, gap.end, gap.expected) == (
        START + timedelta(days=8, hours=10),
        START + timedelta(days=8, hours=12),
        1_000,
    )
    assert list(find_gaps({})) == []
    assert list(find_gaps({monday: 900, monday + 30: 900})) == []


def test_a_price_of_ones_own_settles_a_factor() -> None:
    rows, _, _ = factor("0.92")()
    (finding, *_) = check(rows).findings
    assert (
        finding.detail
        == "recorded is 0.92 times the price; probably another currency or a discount"
    )
    rates = {
        "input_per_million": Decimal("0.138"),
        "output_per_million": Decimal("0.552"),
        "cached_input_per_million": Decimal("0.069"),
    }
    book = PriceBook({"openai:gpt-4o-mini": ModelPricing.model_validate(rates)})
    assert check(rows, book).findings == ()


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        ("100", "cents"),
        ("0.5", "batch"),
        ("2.01", "counted twice"),
        ("1.07", "markup"),
        ("0.93", "discount"),
        ("1e-6", "per token"),
    ],
)
def test_a_factor_is_told_in_words(factor: str, words: str) -> None:
    assert words in factor_in_words(Decimal(factor))


def test_a_factor_that_few_rows_share_is_no_pattern() -> None:
    cell = Cell(0, 5, 19, Decimal(1), Decimal(1), ("a",))
    assert [p.kind for p in explain([cell])] == ["cost_off"]
    assert [p.kind for p in explain([cell._replace(rows=20)])] == ["constant_factor"]
    # As many explained by a mistake: the mistake.
    assert [p.kind for p in explain([cell._replace(rows=20, mask=1)])] == ["cached_in_full"]


def test_a_table_without_what_every_log_has_is_refused() -> None:
    with pytest.raises(InputError, match="has no column model"):
        columns = ["id", "ts", "provider", "input_tokens", "output_tokens"]
        check_rows(duckdb.connect(), "requests", columns, BOOK, log="log", at=NOW)


def test_findings_that_weigh_come_first_by_what_they_are_worth() -> None:
    rows, _, _ = recorded_free()
    for row in of(rows, "gpt-4o-mini", 1):
        row["latency_ms"] = 0
    with_cost(rows, of(rows, "o3", 1), lambda row: row["cost_usd"] * 100)
    diagnosis = check(rows)
    assert [f.kind for f in diagnosis.findings] == [
        "constant_factor",
        "recorded_free",
        "latency_zero",
    ]
    assert not diagnosis.healthy
    assert all(isinstance(f, Finding) for f in diagnosis.findings)
