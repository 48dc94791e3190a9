"""Compare verdicts on chains with the ecosystem's own verifier, in both directions.

    python -m benchmarks.peer.chains [--write]

With --write, its verdicts go to tests/vectors/chains, for the ordinary tests.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.peer.engine import AUDIT
from tests.audit.corpus import read
from ttplan.audit.entries import next_entry
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.audit.verify.file import verify_file
from ttplan.model.audit import Anonymous, ApiKey, AuditEntry, System, TipAnchor, User

VECTORS = Path(__file__).parents[2] / "tests" / "vectors" / "chains"
VERDICTS = VECTORS / "tt-telemetry-verdicts.json"
_ORG, _START = UUID(int=1), datetime(2026, 5, 1, tzinfo=UTC)
_SEED = "33" * 32


def peer_verdict(path: Path, key: str) -> tuple[bool, str]:
    """Return whether tt-telemetry accepts a chain, and its message."""
    done = subprocess.run([str(AUDIT), "verify", str(path), key], capture_output=True, text=True)
    output = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode == 0, "it panics" if done.returncode == 101 else output[-1]


def verdicts(folder: Path) -> list[dict[str, Any]]:
    """Return the verdict of tt-telemetry on each chain of the corpus."""
    verdict_rows = []
    for name, case in read().items():
        path = folder / "chain.jsonl"
        path.write_bytes(case.data)
        accepted, message = peer_verdict(path, case.key)
        verdict_rows.append({"name": name, "takes": accepted, "says": message})
    return verdict_rows


def random_chain(count: int, seed: int) -> Iterable[AuditEntry]:
    """Yield entries with random payloads, of every actor, at any microsecond."""
    chance, tip = random.Random(seed), None
    key = key_from_hex(_SEED)
    for number in range(count):
        actor = (User(_ORG), ApiKey(_ORG), System(), Anonymous())[chance.randrange(4)]
        at = _START + timedelta(
            seconds=number, microseconds=chance.choice([0, 120_000, chance.randrange(10**6)])
        )
        payload = {_text(chance): _value(chance, 4) for _ in range(chance.randrange(5))}
        fields: dict[str, Any] = {
            "id": UUID(int=number),
            "org_id": _ORG,
            "timestamp": at,
            "actor": actor,
            "event": _text(chance),
        }
        entry = next_entry(tip, key=key, payload=payload, **fields)
        yield entry
        tip = TipAnchor(entry.seq, entry.hash)


def _text(chance: random.Random) -> str:
    return "".join(
        chance.choice('ab"\\/\n\t\x01\x7fé\u2028\uffff😀') for _ in range(chance.randrange(6))
    )


def _value(chance: random.Random, levels: int) -> Any:
    kind = chance.randrange(8 if levels else 6)
    if kind == 6:
        return [_value(chance, levels - 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        return {_text(chance): _value(chance, levels - 1) for _ in range(chance.randrange(4))}
    number = chance.uniform(-1, 1) * 10.0 ** chance.randrange(-320, 300)
    return (
        None,
        chance.random() < 0.5,
        _text(chance),
        chance.randrange(-(2**63), 2**64),
        number,
        round(number, 6),
    )[kind]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare ttplan's verdicts on chains with the ecosystem's own."
    )
    parser.add_argument(
        "--write", action="store_true", help="write the verdicts to tests/vectors/chains"
    )
    arguments = parser.parse_args()
    if not AUDIT.exists():
        raise SystemExit(
            "build the Rust programs first: "
            "cargo build --release --manifest-path benchmarks/peer/Cargo.toml"
        )
    public = key_from_hex(_SEED).public_key
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        verdict_rows = verdicts(folder)
        for seed in range(20):
            path = folder / "ttplan.jsonl"
            with path.open("wb") as file:
                write_chain(
                    file, random_chain(50, seed), verifying_key=public, org_id=_ORG, entry_count=50
                )
            accepted, message = peer_verdict(path, public.hex)
            if not accepted:
                raise SystemExit(f"ttplan's chain, seed {seed}: {message}")
        peer_chain = subprocess.run(
            [str(AUDIT), "write", _SEED], capture_output=True, check=True
        ).stdout
        (folder / "peer.jsonl").write_bytes(peer_chain)
        report = verify_file(folder / "peer.jsonl", public_key=public, progress=False)
    if not report.ok:
        raise SystemExit(f"tt-telemetry's chain: {report}")
    cases = read()
    differ = [
        row["name"]
        for row in verdict_rows
        if row["takes"] != cases[row["name"]].verdict.startswith("verified")
    ]
    print("20 random chains of ttplan and one of tt-telemetry verify on both sides")
    print(
        f"corpus: {len(verdict_rows) - len(differ)} of {len(verdict_rows)} verdicts agree; "
        f"different: {', '.join(differ)}"
    )
    if arguments.write:
        VERDICTS.write_text(json.dumps(verdict_rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
