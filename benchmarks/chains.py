"""Verification of an exported audit chain, in both signature scopes and by the bare library.

    python -m benchmarks.chains [--quick]

Each measurement is a separate process. Without --quick, the section of docs/benchmarks.md is
rewritten.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign_open

from benchmarks.logs import ORG
from benchmarks.report import DOCS, Figures, console, machine, markdown, show, write_section
from ttplan.audit.entries import GENESIS, canonical_body, entry_hash, next_entry
from ttplan.audit.jsonl import read_chain, write_chain
from ttplan.audit.keys.key_files import VerifyingKey, create_key, key_from_hex
from ttplan.audit.verify.file import verify_file
from ttplan.audit.verify.options import SignatureScope
from ttplan.model.audit import AuditEntry, StoredEntry, System, TipAnchor

SIZES = (10_000, 100_000, 1_000_000)
_SEED = "11" * 32
_BARE = 100_000
_ACTOR = {"type": "system"}
_START = datetime(2026, 5, 1, tzinfo=UTC)


def make_records(entries: int) -> Iterator[StoredEntry]:
    """Yield a chain signed with the benchmark's key, without the checks of `next_entry`."""
    key, tip = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(_SEED)), GENESIS
    for number in range(entries):
        body = canonical_body(
            actor=_ACTOR,
            event="plan.applied",
            id=str(UUID(int=number)),
            org_id=str(ORG),
            payload=_payload(number),
            seq=number,
            timestamp="2026-05-01T00:00:00+00:00",
        )
        digest = entry_hash(tip, body)
        yield StoredEntry(
            str(ORG), number, tip, digest, key.sign(bytes.fromhex(digest)).hex(), body
        )
        tip = digest


def _payload(number: int) -> dict[str, Any]:
    return {"plan_id": str(UUID(int=number)), "sample_size": 1000, "projected_savings_usd": 12.5}


def make_chain(entries: int, path: Path) -> None:
    """Write a chain of `entries` entries as JSON lines."""
    with path.open("wb") as file:
        write_chain(
            file, make_records(entries), verifying_key=_key(), org_id=ORG, entry_count=entries
        )


def _key() -> VerifyingKey:
    return key_from_hex(_SEED).public_key


def _verify(scope: SignatureScope) -> Callable[[int, Path], int]:
    return lambda entries, path: (
        verify_file(path, public_key=_key(), signatures=scope, progress=False).entries
    )


def _bare(entries: int, path: Path) -> int:
    """Check only the signatures, with the bare library on all cores."""
    cores = os.cpu_count() or 1
    parts = [_SIGNED_HASHES[part::cores] for part in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(_open_all, parts))


def _open_all(signed: list[bytes]) -> int:
    raw = _key().raw
    for signed_hash in signed:
        crypto_sign_open(signed_hash, raw)
    return len(signed)


def _write(entries: int, path: Path) -> int:
    """Make entries as for a store: check, hash, sign, and verify the signature."""
    key, tip, made = create_key(), None, list[AuditEntry]()
    for number in range(entries):
        fields: dict[str, Any] = {
            "id": UUID(int=number),
            "org_id": ORG,
            "timestamp": _START,
            "actor": System(),
            "event": "x",
        }
        made = [next_entry(tip, key=key, payload=_payload(number), **fields)]
        tip = TipAnchor(made[0].seq, made[0].hash)
    return entries


_SIGNED_HASHES: list[bytes] = []
"""Signatures, each followed by the hash that it signs, for `_bare`."""


class Measurement(NamedTuple):
    """What is measured, for which chain lengths; `run` returns the number of entries."""

    label: str
    sizes: tuple[int, ...]
    run: Callable[[int, Path], int]


KINDS = {
    "tip": Measurement('`signatures="tip"`', SIZES, _verify("tip")),
    "all": Measurement('`signatures="all"`', SIZES, _verify("all")),
    "bare": Measurement("bare library, all cores", (_BARE,), _bare),
    "write": Measurement("written, one core", (10_000,), _write),
}
HEADS = ("what", "entries", "seconds", "entries/s", "of the bare library", "peak memory, MB")
READING = """
Each measurement is a separate process, from the exported file to the report. The figure is the
median of three runs; a million entries are verified once. "bare library" is libsodium's check of a
signature alone, without reading or hashing. It is measured before and after each of the others,
because the speed of a machine varies. "written" is what `next_entry` does: it checks, hashes and
signs an entry, and verifies the signature.

Targets on 2 cores: a million entries in under 10 s with `tip`; with `all`, at least 90 % of the
bare library's rate; constant memory.
"""


def chain_figures(*, quick: bool = False) -> Figures:
    """Return the table; with `quick`, of up to 100,000 entries."""
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as folder:

        def rate(name: str, entries: int) -> tuple[float, float, float]:
            seconds, peak = _measure_in_process(name, entries, Path(folder))
            return entries / seconds, seconds, peak

        bare, seconds, peak = rate("bare", _BARE)
        rows.append(_row("bare", _BARE, seconds, 1.0, peak))
        for name in ("tip", "all", "write"):
            for entries in KINDS[name].sizes:
                if quick and entries > SIZES[1]:
                    continue
                measured, seconds, peak = rate(name, entries)
                before, (bare, *_) = bare, rate("bare", _BARE)
                rows.append(_row(name, entries, seconds, measured / fmean((before, bare)), peak))
    return Figures("an audit chain", HEADS, rows)


def _row(name: str, entries: int, seconds: float, share: float, peak: float) -> tuple[str, ...]:
    return (
        KINDS[name].label,
        f"{entries:,}",
        f"{seconds:.2f}",
        f"{entries / seconds:,.0f}",
        f"{share:.0%}",
        f"{peak:,.0f}",
    )


def _measure_in_process(name: str, entries: int, folder: Path) -> tuple[float, float]:
    """Return the seconds and peak megabytes of one measurement."""
    path = folder / f"{max(entries, SIZES[0])}.jsonl"
    command = [
        sys.executable,
        "-m",
        "benchmarks.chains",
        "--measure",
        name,
        str(entries),
        str(path),
    ]
    if not path.exists():
        subprocess.run(command, check=True, cwd=DOCS.parent)
    done = subprocess.run(command, check=True, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True)
    measurement = json.loads(done.stdout)
    return measurement["seconds"], measurement["peak_mb"]


def _measure(name: str, entries: int, path: Path) -> None:
    """Make the chain if it does not exist, else measure and print the result as JSON."""
    if not path.exists():
        make_chain(entries, path)
        return
    if name == "bare":
        _, read = read_chain(path)
        _SIGNED_HASHES.extend(
            bytes.fromhex(entry.signature) + bytes.fromhex(entry.hash)
            for entry in islice(read, entries)
        )
        read.close()
    seconds = []
    for _ in range(3 if entries < SIZES[-1] else 1):
        start = time.perf_counter()
        entries_read = KINDS[name].run(entries, path)
        seconds.append(time.perf_counter() - start)
    if entries_read != entries:
        raise SystemExit(f"{name}: read {entries_read:,} of {entries:,} entries")
    print(
        json.dumps(
            {
                "seconds": median(seconds),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def write_chains(figures: Figures, page: Path) -> None:
    """Write the section of the benchmarks page."""
    write_section(page, "Audit chain", f"{machine()}\n{READING}\n{markdown(figures)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure how fast an audit chain is verified and written."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="up to 100,000 entries; do not change docs/benchmarks.md",
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        _measure(arguments.measure[0], int(arguments.measure[1]), Path(arguments.measure[2]))
        return
    figures = chain_figures(quick=arguments.quick)
    show(figures, console())
    if not arguments.quick:
        write_chains(figures, DOCS / "benchmarks.md")


if __name__ == "__main__":
    main()
