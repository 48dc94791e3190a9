"""The sample log is what its script makes of the public trace."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.paths import ROOT
from ttplan.gateways.plan_file import read_plan_file
from ttplan.operations.logs.check_logs import check_files
from ttplan.prices import catalogue_price

TRACE = ROOT / "data" / "azure-llm-2023"
KEPT = ROOT / "data" / "requests.parquet"
AFTER = ROOT / "data" / "logged-after.parquet"
GATEWAY = ROOT / "data" / "litellm-spend-logs.csv.gz"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_sample", ROOT / "scripts" / "make_sample.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(script: ModuleType) -> pa.Table:
    return script.make_sample(TRACE)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(KEPT).to_pylist()
    return rows


@pytest.mark.slow
def test_the_script_makes_the_gateways_log_again(tmp_path: Path) -> None:
    copy = tmp_path / "again.csv.gz"
    subprocess.run([sys.executable, ROOT / "scripts" / "make_gateway_log.py", copy], check=True)
    assert gzip.decompress(copy.read_bytes()) == gzip.decompress(GATEWAY.read_bytes())


def test_the_gateway_log_has_exactly_the_planted_mistakes() -> None:
    diagnosis = check_files([GATEWAY], at=datetime(2026, 5, 5, tzinfo=UTC))
    planted = {
        "recorded_free": {"claude-haiku-4-5"},
        "cached_in_full": {"gpt-4o", "gpt-4o-mini"},
        "failed_billed": {"claude-haiku-4-5", "claude-sonnet-4-5", "gpt-4o", "gpt-4o-mini"},
        "retry_billed": {"gpt-4o-mini"},  # two failed calls of the same length, within two minutes
    }
    kinds = {finding.kind: set[str | None]() for finding in diagnosis.findings}
    for finding in diagnosis.findings:
        kinds[finding.kind].add(finding.model)
    assert kinds == planted


@pytest.mark.slow
def test_the_log_after_is_the_second_half_hour_with_routes(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_after.py", tmp_path / "again.parquet"], check=True
    )
    after = pq.read_table(AFTER).to_pylist()
    assert pq.read_table(tmp_path / "again.parquet").to_pylist() == after
    before = [row for row in rows if row["ts"] >= after[0]["ts"]]
    assert [row["id"] for row in after] == [row["id"] for row in before]
    targets = {
        str(route.id): route.then.target_model
        for route in read_plan_file(ROOT / "data" / "routes.yaml").routes
    }
    for then, now in zip(before, after, strict=True):
        if now["matched_route_id"] is None:
            assert now == then
        else:
            assert (now["model"], now["ts"], now["input_tokens"]) == (
                targets[now["matched_route_id"]],
                then["ts"],
                then["input_tokens"],
            )
    taken = Counter(targets[row["matched_route_id"]] for row in after if row["matched_route_id"])
    assert set(taken) == set(targets.values())


def test_the_script_makes_the_sample_again(
    script: ModuleType, made: pa.Table, tmp_path: Path
) -> None:
    kept = pq.read_table(KEPT)
    assert made.equals(kept)
    assert kept.schema.equals(script.SCHEMA)
    assert kept.num_rows == 28_185
    script.write(made, tmp_path / "again.parquet")
    metadata = pq.ParquetFile(tmp_path / "again.parquet").metadata
    if metadata.created_by == pq.ParquetFile(KEPT).metadata.created_by:
        assert (tmp_path / "again.parquet").read_bytes() == KEPT.read_bytes()


def test_published_and_compressed_files_have_the_same_rows(
    script: ModuleType, made: pa.Table, tmp_path: Path
) -> None:
    for packed in TRACE.glob("*.csv.gz"):
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    assert script.make_sample(tmp_path).equals(made)


def test_a_folder_without_the_trace_is_named(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"AzureLLMInferenceTrace_conv\.csv\.gz"):
        script.make_sample(tmp_path)


def test_arrivals_and_tokens_are_the_traces(rows: list[dict[str, Any]]) -> None:
    for workload, tag in (("conv", "chat"), ("code", "code")):
        with gzip.open(
            TRACE / f"AzureLLMInferenceTrace_{workload}.csv.gz", "rt", newline=""
        ) as file:
            lines = list(csv.DictReader(file))
        real = Counter((line["TIMESTAMP"][:26], int(line["ContextTokens"])) for line in lines)
        tagged = [row for row in rows if row["tag"] == tag]
        assert (
            Counter(
                (row["ts"].strftime("%Y-%m-%d %H:%M:%S.%f"), row["input_tokens"]) for row in tagged
            )
            == real
        )
        generated = Counter(int(line["GeneratedTokens"]) for line in lines)
        assert Counter(row["output_tokens"] for row in tagged if row["status"] == 200) <= generated


def test_rows_are_consistent(rows: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(UUID(row["id"]).version == 5 for row in rows)
    assert {row["status"] for row in rows} == {200, 429, 500}
    for row in rows:
        failed, hit = row["status"] != 200, row["cached"]
        assert row["matched_route_id"] is None
        assert 0 <= row["cached_tokens"] <= row["input_tokens"]
        assert row["latency_ms"] > 0
        assert (row["cache_layer"] == "l1") is hit
        assert (row["upstream_latency_ms"] is None) is hit
        assert (row["finish_reason"] is None) is failed
        if failed:
            assert (row["output_tokens"], row["cost_usd"], row["baseline_cost_usd"], hit) == (
                0,
                0,
                0,
                False,
            )


def test_costs_are_exact_and_prices_are_the_catalogues(
    script: ModuleType, rows: list[dict[str, Any]]
) -> None:
    for provider, model, fresh, cached, output, _, _ in script.MODELS.values():
        quote = catalogue_price(provider, model, datetime(2026, 5, 1, tzinfo=UTC))
        assert quote is not None
        price = quote.pricing
        assert (price.input_per_million, price.cached_rate, price.output_per_million) == (
            Decimal(fresh),
            Decimal(cached),
            Decimal(output),
        )
    for row in rows:
        if row["status"] == 200:
            cost = script.price(
                row["model"], row["input_tokens"], row["cached_tokens"], row["output_tokens"]
            )
            assert row["baseline_cost_usd"] == cost
            assert row["cost_usd"] == (0 if row["cached"] else cost)
