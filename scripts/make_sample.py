"""Derive data/requests.parquet from the public Azure LLM inference trace of 2023.

    python scripts/make_sample.py [TRACE_FOLDER [OUTPUT]]

The folder holds AzureLLMInferenceTrace_conv.csv and _code.csv, as published or compressed with gzip
(.csv.gz). Arrival times and token counts come from the trace; its two workloads become tags. The
rules below assign everything else from a hash of the row's id, so that the same trace gives the
same file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import NormalDist
from typing import IO, Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(__file__).parent.parent / "data"
ORG = UUID("0b6a5f1e-5d0c-4c58-9f0f-6f3b2d1c7a10")
NAMESPACE = uuid5(NAMESPACE_URL, "https://github.com/Azure/AzurePublicDataset")
WORKLOADS = {"conv": "chat", "code": "code"}

# provider, model, USD per million tokens (input, cached input, output), ms to the first token, ms
# per output token. The prices are those of genai-prices for these models;
# tests/workspace/test_sample.py checks it.
MODELS: dict[str, tuple[str, str, str, str, str, int, float]] = {
    "gpt-4o": ("openai", "gpt-4o", "2.5", "1.25", "10", 420, 14.0),
    "gpt-4o-mini": ("openai", "gpt-4o-mini", "0.15", "0.075", "0.6", 330, 9.0),
    "claude-sonnet-4-5": ("anthropic", "claude-sonnet-4-5", "3", "0.3", "15", 650, 17.0),
    "claude-haiku-4-5": ("anthropic", "claude-haiku-4-5", "1", "0.1", "5", 360, 7.5),
}
# Share of requests of each workload that went to each model.
MIX = {
    "chat": (
        ("gpt-4o", 0.55),
        ("gpt-4o-mini", 0.20),
        ("claude-sonnet-4-5", 0.15),
        ("claude-haiku-4-5", 0.10),
    ),
    "code": (
        ("claude-sonnet-4-5", 0.60),
        ("gpt-4o", 0.30),
        ("claude-haiku-4-5", 0.05),
        ("gpt-4o-mini", 0.05),
    ),
}
GATEWAY_HITS = 0.03
"""Share that the gateway's exact-match cache answers: free and fast."""
PROVIDER_CACHED = 0.25
"""Share of prompts from 1,024 tokens of which half is in the provider's prompt cache."""
FAILED = ((429, 0.006), (500, 0.003))
"""Status and share of failed requests: no output, no cost."""
NOISE = 0.35
"""Standard deviation of the logarithm of latency."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("org_id", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("provider", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cached_tokens", pa.int64(), nullable=False),
        pa.field("cost_usd", pa.decimal128(38, 12), nullable=False),
        pa.field("baseline_cost_usd", pa.decimal128(38, 12), nullable=False),
        pa.field("cached", pa.bool_(), nullable=False),
        pa.field("cache_layer", pa.string()),
        pa.field("matched_route_id", pa.string()),
        pa.field("latency_ms", pa.int64()),
        pa.field("upstream_latency_ms", pa.int64()),
        pa.field("status", pa.int32(), nullable=False),
        pa.field("tag", pa.string()),
        pa.field("finish_reason", pa.string()),
    ]
)


class Chance:
    """Numbers in [0, 1) that depend only on a row's id."""

    def __init__(self, row_id: UUID) -> None:
        self._seed = row_id.bytes

    def of(self, decision: str) -> float:
        """Return the number for one decision."""
        digest = hashlib.blake2b(self._seed + decision.encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big") / 2**56


def pick(chance: float, shares: tuple[tuple[Any, float], ...]) -> Any:
    """Return the choice whose share of [0, 1) contains the number; None if no share does."""
    for choice, share in shares:
        if chance < share:
            return choice
        chance -= share
    return None


def price(model: str, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal:
    """Return the exact cost in USD."""
    _, _, fresh, cached, output, _, _ = MODELS[model]
    total = (
        (input_tokens - cached_tokens) * Decimal(fresh)
        + cached_tokens * Decimal(cached)
        + output_tokens * Decimal(output)
    )
    return total / 10**6


def derive(workload: str, number: int, stamp: str, context: int, generated: int) -> dict[str, Any]:
    """Return a request for one line of the trace."""
    row_id = uuid5(NAMESPACE, f"{workload}/{number}")
    chance = Chance(row_id)
    tag = WORKLOADS[workload]
    model = pick(chance.of("model"), MIX[tag]) or MIX[tag][-1][0]
    status = pick(chance.of("status"), FAILED) or 200
    hit = status == 200 and chance.of("hit") < GATEWAY_HITS
    output = generated if status == 200 else 0
    prompt_cached = (
        context // 2 if context >= 1024 and chance.of("prompt cache") < PROVIDER_CACHED else 0
    )
    paid = price(model, context, prompt_cached, output) if status == 200 else Decimal(0)
    provider, _, _, _, _, first_token_ms, token_ms = MODELS[model]
    noise = NormalDist(0, NOISE).inv_cdf(min(max(chance.of("latency"), 1e-6), 1 - 1e-6))
    upstream = round(
        (first_token_ms + 0.02 * context + token_ms * output) * 2.718281828459045**noise
    )
    return {
        "id": str(row_id),
        "org_id": str(ORG),
        "ts": datetime.fromisoformat(stamp[:26]).replace(tzinfo=UTC),
        "provider": provider,
        "model": model,
        "input_tokens": context,
        "output_tokens": output,
        "cached_tokens": prompt_cached,
        "cost_usd": Decimal(0) if hit else paid,
        "baseline_cost_usd": paid,
        "cached": hit,
        "cache_layer": "l1" if hit else None,
        "matched_route_id": None,
        "latency_ms": 12 if hit else upstream + 6,
        "upstream_latency_ms": None if hit else upstream,
        "status": status,
        "tag": tag,
        "finish_reason": None if status != 200 else "length" if generated >= 1000 else "stop",
    }


def open_trace(folder: Path, workload: str) -> IO[str]:
    """Open a trace file, compressed or not."""
    plain = folder / f"AzureLLMInferenceTrace_{workload}.csv"
    packed = plain.with_suffix(".csv.gz")
    if packed.exists():
        return gzip.open(packed, "rt", newline="", encoding="utf-8")
    if plain.exists():
        return plain.open(newline="", encoding="utf-8")
    raise SystemExit(
        f"{folder} has neither {packed.name} nor {plain.name}; download them from "
        "Azure/AzurePublicDataset"
    )


def write(table: pa.Table, output: Path) -> None:
    """Write the file. The same version of pyarrow gives the same bytes."""
    pq.write_table(table, output, compression="zstd")


def make_sample(folder: Path) -> pa.Table:
    """Return all requests of the trace, in order of arrival."""
    rows = []
    for workload in WORKLOADS:
        with open_trace(folder, workload) as file:
            for number, line in enumerate(csv.DictReader(file)):
                rows.append(
                    derive(
                        workload,
                        number,
                        line["TIMESTAMP"],
                        int(line["ContextTokens"]),
                        int(line["GeneratedTokens"]),
                    )
                )
    rows.sort(key=lambda row: (row["ts"], row["id"]))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "azure-llm-2023"
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else DATA / "requests.parquet"
    write(make_sample(folder), output)


if __name__ == "__main__":
    main()
