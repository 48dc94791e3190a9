"""ttplan beside the published Rust engine, on the same inputs in one run: `make bench-peer` (needs cargo).

    python benchmarks/peer/compare.py [--write]

First agreement: point estimates to 1e-9, intervals of method `tt-plan-core` bit for bit. With `--write` the inputs and the Rust
engine's answers go to tests/vectors/replay, for the ordinary tests. Then time, with 10,000 resamples.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from rich.console import Console
from rich.table import Table

from ttplan.audit.chain import next_entry
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys import create_key
from ttplan.engine.question import Question
from ttplan.engine.replay import answer, replay
from ttplan.engine.rows import to_table
from ttplan.model.audit import Anonymous, ApiKey, System, TipAnchor, User
from ttplan.model.plan import PlanConfig, PlanInput
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

HERE = Path(__file__).parent
ENGINE = HERE / "target" / "release" / "ttplan-peer"
VECTORS = HERE.parent.parent / "tests" / "vectors" / "replay"
RESAMPLES = 10_000
PATIENCE = 2e9
"""Above so many draws the Rust engine is timed with fewer resamples, and its time multiplied."""
START = datetime(2026, 5, 1, tzinfo=UTC)
ORG = UUID(int=1)


def requests(count: int, seed: int) -> tuple[RequestLog, ...]:
    """Requests of three models; nothing on which ttplan deviates on purpose (see tests/vectors/README.md)."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        model = chance.choice(["gpt-4o", "gpt-4o", "claude-sonnet-4-5", "gpt-4o-mini"])
        tokens = int(chance.lognormvariate(6, 1)) + 1
        cost = Decimal(tokens * 25 + chance.randrange(4000)).scaleb(-7)
        hit = chance.random() < 0.05
        rows.append(
            RequestLog(
                id=UUID(int=chance.getrandbits(122)),
                org_id=ORG,
                ts=START + timedelta(milliseconds=number * 3_600_000 // count),
                provider="anthropic" if model.startswith("claude") else "openai",
                model=model,
                input_tokens=tokens,
                output_tokens=chance.randrange(500),
                cached_tokens=chance.choice([0, 0, tokens // 2, tokens + 5]),
                cost_usd=Decimal(0) if hit else cost,
                baseline_cost_usd=cost,
                cached=hit,
                cache_layer="l1" if hit else None,
                latency_ms=chance.randrange(50, 5000),
                status=200,
                tag=chance.choice([None, "chat", "code"]),
                body=chance.choice([None, "Please write SQL", "hello"]),
            )
        )
    return tuple(rows)


def plan(count: int, seed: int, *, resamples: int, ttl: int | None = None) -> PlanInput:
    """A plan with a route of each kind: cheaper, across providers, with a ceiling, without a price, switched off."""

    def route(number: int, priority: int, target: str, when: RouteConditions, **more: Any) -> ProposedRoute:
        then = RouteAction(target_model=target, max_cost_usd=more.pop("ceiling", None))
        return ProposedRoute(id=UUID(int=number), name=f"route {number}", priority=priority, when=when, then=then, **more)

    return PlanInput(
        plan_id=UUID(int=count),
        org_id=ORG,
        window_start=START,
        window_end=START + timedelta(hours=1),
        requests=requests(count, seed),
        proposed_routes=(
            route(5, 50, "gpt-4o", RouteConditions(), enabled=False),
            route(4, 40, "gpt-4o-mini", RouteConditions(tag_equals="chat", input_tokens_lt=800)),
            route(3, 30, "claude-haiku-4-5", RouteConditions(model_in=("gpt-4o",), prompt_contains_any_of=("sql",))),
            route(2, 30, "gpt-4o-mini", RouteConditions(estimated_cost_gt=Decimal("0.004")), ceiling=Decimal("0.0003")),
            route(1, 10, "unpriced", RouteConditions(tag_equals="code", input_tokens_gt=500)),
        ),
        pricing={
            "openai:gpt-4o-mini": ModelPricing(
                input_per_million=Decimal("0.15"),
                output_per_million=Decimal("0.6"),
                cached_input_per_million=Decimal("0.075"),
            ),
            "anthropic:claude-haiku-4-5": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(5)),
        },
        config=PlanConfig(l1_ttl_seconds=ttl),
        seed=seed,
        bootstrap_iterations=resamples,
    )


CASES: dict[str, Callable[[], PlanInput]] = {
    "small": lambda: plan(60, 1, resamples=500),
    "routed": lambda: plan(900, 2**64 - 3, resamples=300),
    "cached": lambda: plan(900, 42, resamples=300, ttl=600),
    "one": lambda: plan(1, 7, resamples=20),
    "empty": lambda: plan(0, 7, resamples=20),
}


def peer(text: str) -> tuple[dict[str, Any], float]:
    """The Rust engine's result, and how many seconds its replay took."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([str(ENGINE), file.name], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), float(done.stderr)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Where two results disagree: point estimates beyond 1e-9, intervals in any bit."""
    found = [
        f"aggregates.{name}: {ours['aggregates'][name]} and {value}"
        for name, value in theirs["aggregates"].items()
        if not isinstance(value, list) and not math.isclose(ours["aggregates"][name], value, rel_tol=1e-9, abs_tol=1e-12)
    ]
    found += [
        f"confidence_intervals.{name}: {ours['confidence_intervals'][name]} and {value}"
        for name, value in theirs["confidence_intervals"].items()
        if ours["confidence_intervals"][name] != value
    ]
    if ours["sample_size"] != theirs["sample_size"]:
        found.append("sample_size")
    for mine, other in zip(ours["per_route_breakdown"], theirs["per_route_breakdown"], strict=True):
        for name, value in other.items():
            same = (
                math.isclose(mine[name], value, rel_tol=1e-9, abs_tol=1e-12) if isinstance(value, float) else mine[name] == value
            )
            found += [] if same else [f"{other['route_name']}.{name}: {mine[name]} and {value}"]
    return found


def agreement(write: bool) -> None:
    for name, make in CASES.items():
        question = make()
        text = question.model_dump_json(exclude_none=False)
        theirs, _ = peer(text)
        ours = replay(question, interval_method="tt-plan-core").model_dump(mode="json")
        found = differences(ours, theirs)
        print(f"{name}: {len(question.requests):,} requests: " + ("agree" if not found else "; ".join(found)))
        if write:
            VECTORS.mkdir(parents=True, exist_ok=True)
            packed = json.dumps({"input": json.loads(text), "result": theirs}, separators=(",", ":")).encode()
            (VECTORS / f"{name}.json.gz").write_bytes(gzip.compress(packed, mtime=0))


def chains() -> None:
    """A chain of ours, with every actor and odd payloads, before the ecosystem's own verifier."""
    key, tip = create_key(), None
    payloads: list[dict[str, Any]] = [
        {"floats": [1e-5, 1e-6, 5e-324, 1.7976931348623157e308, 0.1, 1e16, -0.0]},
        {"integers": [0, -(2**63), 2**64 - 1]},
        {"\uffff": 1, "😀": 2, "é": 3, "e\u0301": 4, "\x7f": '\x01"\\/'},
        {},
    ]
    entries = []
    for number, payload in enumerate(payloads):
        actor = (User(ORG), ApiKey(ORG), System(), Anonymous())[number]
        at = START + timedelta(microseconds=(0, 120_000, 7, 1)[number])
        entry = next_entry(tip, key=key, id=uuid4(), org_id=ORG, timestamp=at, actor=actor, event="peer.test", payload=payload)
        tip = TipAnchor(entry.seq, entry.hash)
        entries.append(entry)
    with tempfile.NamedTemporaryFile("wb", suffix=".jsonl") as file:
        write_chain(file, entries, verifying_key=key.public_key, org_id=ORG, entry_count=len(entries))  # type: ignore[arg-type]
        file.flush()
        command = [str(ENGINE.with_name("ttplan-peer-audit")), "verify", file.name, key.public_key.hex]
        print("a chain of ours:", subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def timings(sizes: tuple[int, ...]) -> Table:
    table = Table(title=f"replay, {RESAMPLES:,} resamples (ours: limit, none)", title_justify="left")
    for name in ("requests", "Rust, s", "ttplan, s", "times faster", "Rust timed with"):
        table.add_column(name, justify="right")
    for size in sizes:
        resamples = max(1, min(RESAMPLES, int(PATIENCE / 5 / size)))
        question = plan(size, 3, resamples=resamples)
        _, seconds = peer(question.model_dump_json())
        rust = seconds * RESAMPLES / resamples
        rows = to_table(question.requests)
        shortest = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            answer(rows, Question.of(question, "limit"))
            shortest = min(shortest, time.perf_counter() - start)
        note = f"{resamples:,} resamples" + ("" if resamples == RESAMPLES else ", extrapolated")
        table.add_row(f"{size:,}", f"{rust:,.1f}", f"{shortest:.2f}", f"{rust / shortest:,.0f}", note)
    return table


def main() -> None:
    if not ENGINE.exists():
        raise SystemExit("build the Rust engine first: cargo build --release --manifest-path benchmarks/peer/Cargo.toml")
    agreement("--write" in sys.argv)
    chains()
    Console().print(timings((1_000, 10_000, 100_000)))


if __name__ == "__main__":
    main()
