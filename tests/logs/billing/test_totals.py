"""Reading billing exports exactly, and comparing a log with them."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import ttplan
from tests.logs.generators.billing_exports import billed
from tests.logs.generators.calls import Call
from tests.logs.generators.files import FIXTURES
from tests.logs.generators.openrouter import SLUGS, generations
from tests.paths import TESTS
from ttplan.logs.billing.compare import compare_days, compare_totals, plain_model
from ttplan.logs.billing.totals import read_totals
from ttplan.model.errors import InputError
from ttplan.model.results.totals import Total, Totals

USAGE = ("requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")


def truth(calls: Iterable[Call]) -> dict[tuple[date, str], dict[str, Any]]:
    """The sums of calls by day and model."""
    sums: defaultdict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    cost: defaultdict[tuple[date, str], Decimal] = defaultdict(Decimal)
    for call in calls:
        key = (call.ts.date(), call.model)
        counts = (1, call.input, call.cached, call.written, call.output)
        sums[key].update(dict(zip(USAGE, counts, strict=True)))
        cost[key] += call.cost
    return {key: {**counter, "cost_usd": cost[key]} for key, counter in sums.items()}


def table(calls: Iterable[Call], **changes: Any) -> pa.Table:
    """Calls as a table of requests."""
    rows = [
        {
            "ts": call.ts,
            "provider": call.provider,
            "model": call.model,
            "status": call.status,
            "cached": call.hit,
            "input_tokens": call.input,
            "cached_tokens": call.cached,
            "cache_write_tokens": call.written,
            "output_tokens": call.output,
            "cost_usd": call.cost,
        }
        | changes
        for call in calls
    ]
    return pa.Table.from_pylist(rows).set_column(
        9, "cost_usd", pa.array([r["cost_usd"] for r in rows], pa.decimal128(38, 12))
    )


@pytest.mark.parametrize(
    ("name", "provider", "lacks"),
    [
        ("openai-usage.json", "openai", {"cache_write_tokens"}),
        ("openai-usage.csv", "openai", {"cache_write_tokens"}),
        ("anthropic-usage.json", "anthropic", {"requests"}),
        ("anthropic-usage.csv", "anthropic", {"requests"}),
    ],
)
def test_usage_is_read_to_the_last_token(name: str, provider: str, lacks: set[str]) -> None:
    export = read_totals(FIXTURES / name)
    expected = truth(billed(provider))
    assert {(t.day, t.model) for t in export.totals} == set(expected)
    assert export.rows >= 200
    for total in export.totals:
        for measure in USAGE:
            value = getattr(total, measure)
            assert value == (
                None if measure in lacks else expected[(total.day, total.model or "")][measure]
            ), (total, measure)
        assert total.provider == provider
        assert total.cost_usd is None


@pytest.mark.parametrize("name", ["openai-costs.json", "openai-costs.csv", "anthropic-costs.json"])
def test_costs_are_read_to_the_last_digit(name: str) -> None:
    provider = name.split("-")[0]
    export = read_totals(FIXTURES / name)
    expected = truth(billed(provider))
    assert export.rows >= 200
    assert {(t.day, t.model): t.cost_usd for t in export.totals} == {
        key: sums["cost_usd"] for key, sums in expected.items()
    }
    assert all(t.requests is None and t.input_tokens is None for t in export.totals)


def test_costs_rounded_to_cents_have_a_rounding_bound() -> None:
    export = read_totals(FIXTURES / "anthropic-costs.csv")
    expected = truth(billed("anthropic"))
    names = {
        "Claude Sonnet 4.5": "claude-sonnet-4-5-20250929",
        "Claude Haiku 4.5": "claude-haiku-4-5",
    }
    assert len(export.totals) == len(expected)
    for total in export.totals:
        off = abs(
            (total.cost_usd or Decimal(0))
            - Decimal(expected[(total.day, names[total.model or ""])]["cost_usd"])
        )
        assert off <= total.rounding_usd


def test_openrouter_days_are_read() -> None:
    export = read_totals(FIXTURES / "openrouter-days.json")
    expected = truth(generations())
    slugs = {slug: model for model, slug in SLUGS.items()}
    assert len(export.totals) == export.rows == len(expected)
    for total in export.totals:
        sums = expected[(total.day, slugs[total.model or ""])]
        assert (total.requests, total.input_tokens, total.output_tokens) == (
            sums["requests"],
            sums["input_tokens"],
            sums["output_tokens"],
        )
        assert float(total.cost_usd or 0) == pytest.approx(float(sums["cost_usd"]), rel=1e-12)


def test_openrouter_days_are_read_from_csv(tmp_path: Path) -> None:
    (tmp_path / "activity.csv").write_text(
        "Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens\n"
        '"2026-05-12 00:00:00","anthropic/claude-4.5-haiku","1.25","0.5","41","7000","300","0"\n'
    )
    (total,) = read_totals(tmp_path / "activity.csv").totals
    assert total.model_dump(exclude_none=True, exclude={"rounding_usd"}) == {
        "day": date(2026, 5, 12),
        "provider": "openrouter",
        "model": "anthropic/claude-4.5-haiku",
        "requests": 41,
        "input_tokens": 7000,
        "output_tokens": 300,
        "cost_usd": Decimal("1.75"),
    }


def page(
    *results: dict[str, Any], start: Any = 1777852800, end: Any = 1777939200, **more: Any
) -> dict[str, Any]:
    return {
        "object": "page",
        "data": [{"object": "bucket", "start_time": start, "end_time": end, "results": results}],
    } | more


USED = {
    "object": "organization.usage.completions.result",
    "input_tokens": 5,
    "output_tokens": 1,
    "num_model_requests": 1,
}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_pages_are_read_from_one_array_lines_or_gzip(tmp_path: Path) -> None:
    first, second = page(USED, has_more=True), page(USED, USED, start=1777939200, end=1778025600)
    many = read_totals(write(tmp_path / "many.json", [first, second]))
    lines = read_totals(
        write(tmp_path / "lines.json", json.dumps(first) + "\n" + json.dumps(second) + "\n")
    )
    with gzip.open(tmp_path / "many.json.gz", "wt") as file:
        json.dump([first, second], file)
    packed = read_totals(tmp_path / "many.json.gz")
    assert many.totals == lines.totals == packed.totals
    assert [total.requests for total in many.totals] == [1, 2]
    assert many.notes == ()
    assert read_totals(write(tmp_path / "one.json", first)).notes == (
        "the export has further pages, which are not in the file",
    )


def test_hours_are_summed_to_days(tmp_path: Path) -> None:
    hours = [
        page(USED, start=1777852800 + 3600 * hour, end=1777856400 + 3600 * hour)
        for hour in range(26)
    ]
    export = read_totals(write(tmp_path / "hours.json", hours))
    assert [(str(total.day), total.requests) for total in export.totals] == [
        ("2026-05-04", 24),
        ("2026-05-05", 2),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            page(USED | {"input_tokens": -1}),
            "result 1: input_tokens is -1; expected a whole number",
        ),
        (
            page(USED, USED | {"output_tokens": "many"}),
            "result 2: output_tokens is 'many'; expected a whole number",
        ),
        (page(USED | {"input_tokens": 0.96}), "input_tokens is 0.96; expected a whole number"),
        (page(USED | {"input_tokens": True}), "input_tokens is True; expected a whole number"),
        (page(USED | {"model": 7}), "model is 7; expected a text"),
        (page(USED, start="soon"), "start_time is 'soon'; expected a time"),
        (page(USED, start=1e300), "start_time is 1e.300; expected a time"),
        (page(USED, end=1780000000), "at most one day; export with a bucket_width of 1d"),
        (
            page(
                {"amount": {"value": 1, "currency": "eur"}, "line_item": None, "project_id": None}
            ),
            "other currencies",
        ),
        (
            page({"amount": {"value": "NaN"}, "line_item": None, "project_id": None}),
            "amount_value is 'NaN'; expected an amount",
        ),
        (
            page({"amount": {"value": 10**13}, "line_item": None, "project_id": None}),
            "expected an amount below",
        ),
        ('{"data": [', "cannot be read as JSON or CSV .* check that the file is whole"),
        ("[" * 100_000, "cannot be read as JSON or CSV"),
        (
            {"rows": []},
            "has no known totals by day; expected one of: Anthropic costs by day",
        ),
        ("id,ts\n1,2\n", "has no known totals by day"),
        ("", "has no known totals by day"),
        ('usage_date_utc,"oops\n', "cannot be read as JSON or CSV"),
    ],
)
def test_invalid_results_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_totals(write(tmp_path / "bad.json", content))


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_totals(tmp_path / "none.json")
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b'{"data": []}' * 1000)[:-20])
    with pytest.raises(InputError, match="cut off, or not gzip"):
        read_totals(tmp_path / "cut.json.gz")
    (tmp_path / "bytes.json").write_bytes(b"{\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_totals(tmp_path / "bytes.json")


def bills(provider: str) -> list[Totals]:
    return [read_totals(FIXTURES / f"{provider}-{kind}.json") for kind in ("usage", "costs")]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_complete_log_agrees_with_the_bill(provider: str) -> None:
    comparison = compare_totals(table(billed(provider)), *bills(provider))
    assert comparison.agrees, comparison
    assert comparison.compared == len({call.model for call in billed(provider)})
    days = sorted({call.ts.date() for call in billed(provider)})
    assert (comparison.first, comparison.last) == (days[1], days[-2])
    assert comparison.left_out == (
        f"{days[0]} and {days[-1]}, the log's first and last day, of which it may have only a part",
    )


def test_rounded_costs_with_display_names_agree() -> None:
    comparison = compare_totals(
        table(billed("anthropic")), read_totals(FIXTURES / "anthropic-costs.csv")
    )
    assert comparison.agrees, comparison


def test_missing_calls_are_gaps_with_size_and_days() -> None:
    missing = [call for call in billed("openai") if call.model == "gpt-4o-mini" and call.ts.day % 2]
    log = [call for call in billed("openai") if call not in missing]
    comparison = compare_totals(table(log), *bills("openai"))
    days = sorted({call.ts.date() for call in log})
    counted = [call for call in missing if days[0] < call.ts.date() < days[-1]]
    gaps = {gap.measure: gap for gap in comparison.gaps}
    assert {gap.model for gap in comparison.gaps} == {"gpt-4o-mini"}
    assert gaps["requests"].difference == len(counted)
    assert gaps["cost_usd"].difference == sum(call.cost for call in counted)
    assert gaps["input_tokens"].difference == sum(call.input for call in counted)
    assert all(day.day % 2 for day in gaps["requests"].days)
    assert len(gaps["requests"].days) == 3
    assert "less in the log" in str(gaps["requests"])
    assert "openai gpt-4o-mini: cost_usd: the log has " in str(comparison)


def test_the_recorded_cost_is_compared() -> None:
    calls = billed("openai")
    requests = table(calls, cost_usd=Decimal(0))
    wrong = compare_totals(requests, *bills("openai"))
    assert {gap.measure for gap in wrong.gaps} == {"cost_usd"}
    recorded = requests.append_column(
        "recorded_cost_usd", pa.array([call.cost for call in calls], pa.decimal128(38, 12))
    )
    assert compare_totals(recorded, *bills("openai")).agrees


def test_failed_and_cached_calls_do_not_count() -> None:
    calls = billed("openai")
    extra = [c._replace(status=429, cost=Decimal(0)) for c in calls] + [
        c._replace(hit=True, cost=Decimal(0)) for c in calls
    ]
    assert compare_totals(table([*calls, *extra]), *bills("openai")).agrees


def test_models_on_only_one_side_are_named() -> None:
    calls = [
        c._replace(model="gpt-3.5-turbo") if c.model == "o4-mini" else c for c in billed("openai")
    ]
    comparison = compare_totals(table(calls), *bills("openai"))
    assert (comparison.only_billed, comparison.only_logged) == (
        ("openai o4-mini",),
        ("openai gpt-3-5-turbo",),
    )
    assert not comparison.agrees


def test_a_bill_without_models_is_compared_in_total() -> None:
    day = date(2026, 5, 4)
    logged = [
        Total(day=day, provider="openai", model=m, requests=3, cost_usd=Decimal(2))
        for m in ("a", "b")
    ]
    bill = [Total(day=day, provider="openai", model=None, requests=6, cost_usd=Decimal(5))]
    comparison = compare_days(logged, bill)
    assert comparison.compared == 1
    (gap,) = comparison.gaps
    assert (gap.model, gap.measure, gap.logged, gap.billed) == (
        None,
        "cost_usd",
        Decimal(4),
        Decimal(5),
    )
    assert str(gap) == (
        "openai in all: cost_usd: the log has 4.00 USD, the bill 5.00 USD:"
        " 1.00 USD, 20.0% less in the log"
    )


def test_days_and_providers_on_only_one_side_are_left_out() -> None:
    days = [date(2026, 5, 4) + timedelta(days=n) for n in range(4)]
    logged = [Total(day=day, provider="openai", model="a", requests=1) for day in days[:2]]
    bill = [
        Total(day=day, provider=p, model="a", requests=1)
        for day in days[1:]
        for p in ("openai", "anthropic")
    ]
    comparison = compare_days(logged, bill)
    assert (comparison.first, comparison.last, comparison.agrees) == (days[1], days[1], True)
    assert comparison.left_out == (
        "1 days of the log that the bill does not have",
        "billed by anthropic, of which the log has nothing",
    )
    disjoint = compare_days(
        logged, [Total(day=days[0], provider="anthropic", model="a", requests=1)]
    )
    assert (disjoint.first, disjoint.agrees) == (None, False)
    assert str(disjoint).startswith("nothing to compare")


def test_a_difference_within_the_tolerance_is_not_a_gap() -> None:
    day = date(2026, 5, 4)
    logged = [Total(day=day, provider="openai", model="a", requests=995)]
    bill = [Total(day=day, provider="openai", model="a", requests=1000)]
    assert compare_days(logged, bill).agrees
    assert not compare_days(logged, bill, Decimal("0.001")).agrees
    with pytest.raises(InputError, match="tolerance is 2; expected a share"):
        compare_totals(table(billed("openai")), tolerance=Decimal(2))


def test_a_table_without_the_columns_is_refused() -> None:
    with pytest.raises(InputError, match="the requests lack cached, cached_tokens, cost_usd"):
        compare_totals(pa.table({"ts": [datetime(2026, 5, 4, tzinfo=UTC)]}))


def test_a_relation_is_compared_like_a_table() -> None:
    calls = billed("openai")
    relation = duckdb.connect().from_arrow(table(calls))
    assert compare_totals(relation, *bills("openai")) == compare_totals(
        table(calls), *bills("openai")
    )


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-3-5-sonnet@20240620", "claude-3-5-sonnet"),
        ("o4-mini", "o4-mini"),
    ],
)
def test_spellings_of_a_model_have_one_plain_name(name: str, plain: str) -> None:
    assert plain_model(name) == plain


def test_the_functions_are_public() -> None:
    assert ttplan.read_totals is read_totals
    assert ttplan.compare_totals is compare_totals


def test_amounts_as_texts_are_those_as_numbers() -> None:
    folder = TESTS / "data" / "logs" / "openai_costs"
    texts, numbers = (read_totals(folder / f"costs_{kind}.json") for kind in ("string", "number"))
    assert texts.totals == numbers.totals
    assert [total.cost_usd for total in texts.totals] == [Decimal("12.5"), 0, Decimal("1E-8")]
