"""A plan shows the basis of its costs, the source of its prices, and what flat prices omit."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.doctor_logs import NOW, Row, clean, plain, table
from ttplan.display.plan import Plan
from ttplan.doctor.flat_price_gaps import flat_price_gaps
from ttplan.engine.replay import replay_table
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.route import ProposedRoute
from ttplan.prices.book import PriceBook
from ttplan.prices.table import price_table
from ttplan.workspace.open import open_workspace

ORG = UUID(int=7)
AT = datetime(2026, 10, 25, tzinfo=UTC)


def route(target: str, **when: Any) -> ProposedRoute:
    return ProposedRoute.model_validate(
        {
            "id": str(UUID(int=1)),
            "name": "all",
            "priority": 1,
            "enabled": True,
            "when": when,
            "then": {"target_model": target},
        }
    )


def log(rows: list[Row]) -> ibis.expr.types.Table:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    filled = [
        {"org_id": str(ORG), "baseline_cost_usd": row["cost_usd"], "cost_basis": "recorded"} | row
        for row in rows
    ]
    connection.register("arrived", pa.Table.from_pylist(filled, schema=REQUEST_SCHEMA))
    connection.execute(
        "CREATE TABLE requests AS SELECT * REPLACE (org_id::UUID AS org_id, id::UUID AS id) "
        "FROM arrived"
    )
    return ibis.duckdb.from_connection(connection).table("requests")


ROW: Row = {
    "id": str(UUID(int=5)),
    "ts": AT,
    "provider": "anthropic",
    "model": "claude-haiku-4-5",
    "input_tokens": 1_000,
    "output_tokens": 100,
    "cached_tokens": 0,
    "cost_usd": Decimal("0.01"),
    "cached": False,
    "status": 200,
    "latency_ms": 5,
}


def beyond(row: Row, target: str, book: PriceBook | None = None) -> tuple[str, ...]:
    rows = log([ROW | row])
    pricing = price_table([str((ROW | row)["provider"])], [target], at=AT).pricing
    spec = ReplaySpec(
        UUID(int=1), ORG, AT - timedelta(days=1), AT + timedelta(days=1), (route(target),), pricing
    )
    return flat_price_gaps(rows, spec, book or PriceBook(), AT)


@pytest.mark.parametrize(
    ("row", "target", "expected"),
    [
        # 200 fresh tokens of 1,000 at 3, 800 written at 3.75 instead of 3
        (
            {"cache_write_tokens": 800},
            "claude-sonnet-4-5",
            "write to the provider's cache; .* would be 0.000600 USD more",
        ),
        # 300,000 at 6 instead of 3, and 100 at 22.5 instead of 15
        (
            {"input_tokens": 300_000},
            "claude-sonnet-4-5",
            "so long that .* would be 0.900750 USD more",
        ),
        (
            {"provider": "openai", "input_audio_tokens": 500},
            "gpt-audio",
            "have audio; .* would be 0.014750 USD more",
        ),
        (
            {"provider": "perplexity"},
            "sonar",
            "pay their target a fee per request; .* would be 0.012000 USD more",
        ),
        (
            {"provider_usage": '{"server_tool_use": {"web_search_requests": 2}}'},
            "claude-sonnet-4-5",
            "pay their target a fee per web search; .* would be 0.020000 USD more",
        ),
        (
            {"service_tier": "batch"},
            "claude-sonnet-4-5",
            "ran as batch, flex or priority; .* standard rate, 0.00 USD in all",
        ),
    ],
)
def test_what_flat_prices_leave_out_is_a_caveat_with_its_effect(
    row: Row, target: str, expected: str
) -> None:
    (caveat,) = beyond(row, target)
    assert caveat.startswith("1 rerouted request ")
    assert re.search(expected, caveat), caveat


def test_what_flat_prices_can_say_is_no_caveat() -> None:
    assert beyond({}, "claude-sonnet-4-5") == ()
    assert beyond({"cached_tokens": 500, "service_tier": "default"}, "claude-sonnet-4-5") == ()
    assert beyond({"provider": "openai", "reasoning_tokens": 50}, "o3") == ()
    rates = {
        "anthropic:claude-sonnet-4-5": ModelPricing(
            input_per_million=Decimal(3), output_per_million=Decimal(15)
        )
    }
    assert beyond({"cache_write_tokens": 800}, "claude-sonnet-4-5", PriceBook(rates)) == ()


def test_requests_that_are_not_rerouted_are_not_counted() -> None:
    rows = log([ROW | {"cache_write_tokens": 800}])
    pricing = price_table(["anthropic"], ["claude-sonnet-4-5"], at=AT).pricing
    routes = (route("claude-sonnet-4-5", input_tokens_gt=5_000),)
    spec = ReplaySpec(
        UUID(int=1), ORG, AT - timedelta(days=1), AT + timedelta(days=1), routes, pricing
    )
    assert flat_price_gaps(rows, spec, PriceBook(), AT) == ()


def test_a_replay_of_a_table_says_how_many_costs_are_recomputed() -> None:
    rows = [
        ROW
        | {
            "id": str(UUID(int=n)),
            "cost_basis": basis,
            "recorded_cost_usd": Decimal(0) if basis else Decimal("0.01"),
        }
        for n, basis in enumerate([None, "recorded", "recomputed", "doctor"])
    ]
    pricing = price_table(["anthropic"], ["claude-sonnet-4-5"], at=AT).pricing
    result = replay_table(log(rows), [route("claude-sonnet-4-5")], pricing, org_id=ORG)
    assert (
        "2 of 4 requests (50.0%) have costs recomputed from tokens and prices: 0.02 USD, "
        "where the log recorded 0.00 USD." in result.caveats
    )
    untouched = replay_table(log(rows[:2]), [route("claude-sonnet-4-5")], pricing, org_id=ORG)
    assert not any("recomputed" in caveat for caveat in untouched.caveats)


def planned(folder: Path, cost: Any, *assumptions: Assumption) -> Plan:
    rows = clean()[:1_500]
    for row in [row for row in rows if row["model"] == "gpt-4o" and plain(row)]:
        row["cost_usd"] = Decimal(0)
    path = folder / "log.parquet"
    pq.write_table(table(rows), path)
    name = f"{cost}{len(assumptions)}.duckdb"
    workspace = open_workspace(folder / name, clock=lambda: NOW)
    workspace.import_logs(path, cost=cost, progress=False)
    prices = folder / "prices.yaml"
    prices.write_text("openai:gpt-4o-mini: {input_per_million: 0.1, output_per_million: 0.4}\n")
    made = workspace.plan(
        [route("gpt-4o-mini", model_in=["gpt-4o"])],
        name="mini",
        prices=prices,
        assumptions=assumptions,
        progress=False,
    )
    return workspace.show(made.plan_id)


def test_a_plan_keeps_and_shows_what_it_rests_on(tmp_path: Path) -> None:
    doctored, recorded = planned(tmp_path, "doctor"), planned(tmp_path, "recorded")
    basis = doctored.run.cost_basis
    assert basis is not None
    assert basis.recomputed == basis.by_doctor > 100
    assert basis.was_recorded_usd == 0 < basis.recomputed_usd
    assert doctored.result.aggregates.projected_savings_usd > 0
    # What was recorded at no cost takes its price, unless somebody says that it is free.
    assert recorded.result.aggregates.projected_savings_usd > 0
    free = planned(tmp_path, "recorded", Assumption(name="unrecorded_cost", value=0))
    assert free.result.aggregates.projected_savings_usd == 0
    assert recorded.run.cost_basis is not None
    assert recorded.run.cost_basis.recomputed == 0
    assert doctored.run.price_sources == {
        "openai:gpt-4o-mini": "your price file",
        "azure:gpt-4o-mini": "genai-prices, model gpt-4o-mini",
    }
    text, html = repr(doctored), doctored._repr_html_()
    assert all(len(line) <= 80 for line in text.splitlines())
    for part in (
        f"{basis.recomputed:,} of 1,500 by the doctor",
        "openai:gpt-4o-mini from your price file",
        "from genai-prices",
    ):
        assert part in " ".join(text.split())
        assert part in html
    assert any(
        "have costs recomputed by the doctor" in caveat for caveat in doctored.result.caveats
    )
    assert "as recorded" in repr(recorded)
