"""Compare ttplan with the published Rust engine on the same inputs.

`make bench-peer` runs it (needs cargo).

    python -m benchmarks.peer.compare [--write] [--quick]

First, both must agree: point estimates to 1e-9, intervals of method `tt-plan-core` bit for bit.
With --write, the inputs and the results of the Rust engine go to tests/vectors/replay, for the
ordinary tests. Then both are timed, with 10,000 resamples (L2: with one).
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.measure import best
from benchmarks.peer.engine import AUDIT, ENGINE, RESAMPLES, differences, peer, seconds_of_peer
from benchmarks.peer.inputs import CASES, ORG, START, ambiguous, plan
from benchmarks.report import DOCS, Figures, console, machine, markdown, show, write_section
from ttplan.audit.entries import next_entry
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys.key_files import create_key
from ttplan.engine.replay import replay, run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.audit import Anonymous, ApiKey, System, TipAnchor, User
from ttplan.model.plan import PlanInput

VECTORS = Path(__file__).parent.parent.parent / "tests" / "vectors" / "replay"
SIZES, QUICK_SIZES = (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000)
SEMANTIC, DIMENSIONS = 5_000, 256
DAY = 86_400
READING = f"""
The same requests, parsed before the clock starts: the crate `tt-plan-core` 0.1.1 with {RESAMPLES:,}
resamples, and ttplan with intervals of method `limit`, which are the limit for infinitely many
resamples. If the Rust engine would take more than five minutes, it is measured with fewer resamples
and its time is extrapolated linearly. The last row is a replay with L2, of {SEMANTIC:,} requests
with embeddings of {DIMENSIONS} numbers, and a single resample. In the same run, both agreed on all
golden inputs: point estimates to 1e-9, intervals of method `tt-plan-core` bit for bit.
"""


def check_agreement(write: bool) -> None:
    """Run both engines on the golden inputs; exit if they disagree."""
    disagreed = False
    for name, make in CASES.items():
        plan_input = make()
        close = ambiguous(plan_input)
        if close:
            raise SystemExit(
                f"{name}: two engines may round these cosines differently; choose another seed: "
                f"{close[0]}"
            )
        text = plan_input.model_dump_json(exclude_none=False)
        peer_result, _ = peer(text)
        result = replay(plan_input, interval_method="tt-plan-core").model_dump(mode="json")
        differing = differences(result, peer_result)
        disagreed |= bool(differing)
        print(
            f"{name}: {len(plan_input.requests):,} requests: "
            + ("agree" if not differing else "; ".join(differing))
        )
        if write:
            VECTORS.mkdir(parents=True, exist_ok=True)
            packed = json.dumps(
                {"input": json.loads(text), "result": peer_result}, separators=(",", ":")
            ).encode()
            (VECTORS / f"{name}.json.gz").write_bytes(gzip.compress(packed, mtime=0))
    if disagreed:
        raise SystemExit("the engines disagree")


def check_chain() -> None:
    """Verify a chain with every actor and unusual payloads with the ecosystem's own verifier."""
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
        entry = next_entry(
            tip,
            key=key,
            id=uuid4(),
            org_id=ORG,
            timestamp=at,
            actor=actor,
            event="peer.test",
            payload=payload,
        )
        tip = TipAnchor(entry.seq, entry.hash)
        entries.append(entry)
    with tempfile.NamedTemporaryFile("wb", suffix=".jsonl") as file:
        write_chain(
            file,  # type: ignore[arg-type]
            entries,
            verifying_key=key.public_key,
            org_id=ORG,
            entry_count=len(entries),
        )
        file.flush()
        command = [str(AUDIT), "verify", file.name, key.public_key.hex]
        print(
            "ttplan's chain:",
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(),
        )


def measure_times(sizes: tuple[int, ...]) -> Figures:
    """Return the times of both engines and their ratio."""
    rows = []
    for size in sizes:
        plan_input = plan(size, 3, resamples=RESAMPLES)
        rust, resamples = seconds_of_peer(plan_input.model_dump_json(), size)
        note = f"{resamples:,} resamples" + ("" if resamples == RESAMPLES else ", extrapolated")
        rows.append(_row("replay", size, rust, best(_ttplan_run(plan_input))[0], note))
    plan_input = plan(SEMANTIC, 3, resamples=1, l2_ttl=DAY, dimensions=DIMENSIONS)
    rust = peer(plan_input.model_dump_json())[1]
    rows.append(_row("with L2", SEMANTIC, rust, best(_ttplan_run(plan_input))[0], "1 resample"))
    heads = (
        "what",
        "requests",
        "tt-plan-core, s",
        "ttplan, s",
        "times faster",
        "tt-plan-core with",
    )
    return Figures("compared with the Rust engine", heads, rows)


def _ttplan_run(plan_input: PlanInput) -> Callable[[], int]:
    rows, spec = to_table(plan_input.requests), ReplaySpec.from_plan(plan_input, "limit")
    return lambda: run_replay(rows, spec).result.sample_size


def _row(label: str, size: int, rust: float, ttplan: float, note: str) -> tuple[str, ...]:
    return label, f"{size:,}", f"{rust:,.2f}", f"{ttplan:.2f}", f"{rust / ttplan:,.1f}", note


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare ttplan with the published Rust engine.")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the golden inputs and outputs to tests/vectors/replay",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="up to 10,000 requests; do not change docs/benchmarks.md",
    )
    arguments = parser.parse_args()
    if not ENGINE.exists():
        raise SystemExit(
            "build the Rust engine first: "
            "cargo build --release --manifest-path benchmarks/peer/Cargo.toml"
        )
    check_agreement(arguments.write)
    check_chain()
    figures = measure_times(QUICK_SIZES if arguments.quick else SIZES)
    show(figures, console())
    if not arguments.quick:
        target = "Target: 200 times as fast at a million requests."
        text = f"{machine()}\n{READING}\n{markdown(figures)}\n{target}\n"
        write_section(DOCS / "benchmarks.md", "Compared with the Rust engine", text)


if __name__ == "__main__":
    main()
