"""The sample log is what its script makes of the public trace."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from ttplan.prices import catalogue_price

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample", ROOT / "scripts" / "make_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_sample_again(script: ModuleType) -> None:
    kept = pq.read_table(ROOT / "data" / "requests.parquet")
    assert script.sample(ROOT / "data" / "azure-llm-2023").equals(kept)
    assert kept.num_rows == 28_185


def test_costs_are_exact_and_prices_are_the_catalogues(script: ModuleType) -> None:
    for provider, model, fresh, cached, output, _, _ in script.MODELS.values():
        quote = catalogue_price(provider, model, datetime(2026, 5, 1, tzinfo=UTC))
        assert quote is not None
        price = quote.pricing
        assert (price.input_per_million, price.cached_rate, price.output_per_million) == (
            Decimal(fresh),
            Decimal(cached),
            Decimal(output),
        )
    for row in pq.read_table(ROOT / "data" / "requests.parquet").slice(0, 2000).to_pylist():
        if row["status"] == 200:
            cost = script.price(row["model"], row["input_tokens"], row["cached_tokens"], row["output_tokens"])
            assert row["baseline_cost_usd"] == cost
            assert row["cost_usd"] == (0 if row["cached"] else cost)
