"""The Rust engine: its result of a plan, its time, and where its result is not ours."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

RELEASE = Path(__file__).parent / "target" / "release"
ENGINE, AUDIT = RELEASE / "ttplan-peer", RELEASE / "ttplan-peer-audit"
RESAMPLES = 10_000
PATIENCE = 300.0
"""What would take the Rust engine longer, in seconds, is measured with fewer resamples and extrapolated."""
_FIRST, _MORE = 2e8, 2e9
_INTERVALS = 5


def peer(text: str) -> tuple[dict[str, Any], float]:
    """The Rust engine's result for a plan in JSON, and how many seconds its replay took; reading the JSON is not counted."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([str(ENGINE), file.name], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), float(done.stderr)


def seconds_of_peer(text: str, rows: int) -> tuple[float, int]:
    """How long a replay with 10,000 resamples takes the Rust engine, and with how many at most it was measured.

    `text` is a plan that asks for that many. Fewer are extrapolated from two measurements, as a straight line: what a resample
    takes does not depend on how many there are, and what is done once is not multiplied.
    """
    once = _timed(text, 1)
    for draws in (_FIRST, _MORE):
        count = max(2, min(RESAMPLES, int(draws / _INTERVALS / rows)))
        some = _timed(text, count)
        if count == RESAMPLES:
            return some, RESAMPLES
        whole = once + (some - once) * (RESAMPLES - 1) / (count - 1)
        if whole <= PATIENCE:
            return _timed(text, RESAMPLES), RESAMPLES
    return whole, count


def _timed(text: str, resamples: int) -> float:
    asked = f'"bootstrap_iterations":{RESAMPLES}'
    before, after = text.rsplit(asked, 1)
    return peer(f'{before}"bootstrap_iterations":{resamples}{after}')[1]


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Where two results disagree: point estimates beyond 1e-9, counts and intervals at all."""
    found = _unlike("aggregates", ours["aggregates"], theirs["aggregates"])
    found += [
        f"confidence_intervals.{name}: {ours['confidence_intervals'][name]} and {value}"
        for name, value in theirs["confidence_intervals"].items()
        if ours["confidence_intervals"][name] != value
    ]
    found += _unlike(
        "per_route_breakdown", ours["per_route_breakdown"], theirs["per_route_breakdown"]
    )
    return found + _unlike("sample_size", ours["sample_size"], theirs["sample_size"])


def _unlike(where: str, ours: Any, theirs: Any) -> list[str]:
    """Where `ours` lacks what `theirs` says, however deep."""
    if isinstance(theirs, dict):
        return [
            said
            for name, value in theirs.items()
            for said in _unlike(f"{where}.{name}", ours[name], value)
        ]
    if isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            said
            for i, value in enumerate(theirs)
            for said in _unlike(f"{where}.{i}", ours[i], value)
        ]
    same = (
        math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)
        if isinstance(theirs, float)
        else ours == theirs
    )
    return [] if same else [f"{where}: {ours} and {theirs}"]
