"""The Rust engine: its result for a plan, its time, and the differences between results."""

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
MAX_SECONDS = 300.0
"""If the Rust engine would take longer, it is measured with fewer resamples and extrapolated."""
_FIRST, _MORE = 2e8, 2e9
_INTERVALS = 5


def peer(text: str) -> tuple[dict[str, Any], float]:
    """Return the Rust engine's result for a plan in JSON, and the seconds of its replay alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([str(ENGINE), file.name], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), float(done.stderr)


def seconds_of_peer(text: str, rows: int) -> tuple[float, int]:
    """Return the Rust engine's time for 10,000 resamples, and the most resamples measured.

    `text` is a plan with that many resamples. Fewer are extrapolated linearly from two
    measurements, because each resample takes the same time.
    """
    once = _timed(text, 1)
    for draws in (_FIRST, _MORE):
        count = max(2, min(RESAMPLES, int(draws / _INTERVALS / rows)))
        some = _timed(text, count)
        if count == RESAMPLES:
            return some, RESAMPLES
        whole = once + (some - once) * (RESAMPLES - 1) / (count - 1)
        if whole <= MAX_SECONDS:
            return _timed(text, RESAMPLES), RESAMPLES
    return whole, count


def _timed(text: str, resamples: int) -> float:
    resamples_field = f'"bootstrap_iterations":{RESAMPLES}'
    before, after = text.rsplit(resamples_field, 1)
    return peer(f'{before}"bootstrap_iterations":{resamples}{after}')[1]


def differences(result: dict[str, Any], peer_result: dict[str, Any]) -> list[str]:
    """List where results differ: point estimates by more than 1e-9, the rest at all."""
    differing = _list_differences("aggregates", result["aggregates"], peer_result["aggregates"])
    differing += [
        f"confidence_intervals.{name}: {result['confidence_intervals'][name]} and {value}"
        for name, value in peer_result["confidence_intervals"].items()
        if result["confidence_intervals"][name] != value
    ]
    differing += _list_differences(
        "per_route_breakdown", result["per_route_breakdown"], peer_result["per_route_breakdown"]
    )
    return differing + _list_differences(
        "sample_size", result["sample_size"], peer_result["sample_size"]
    )


def _list_differences(where: str, result: Any, peer_result: Any) -> list[str]:
    """List the fields of `peer_result`, at any depth, that `result` does not have or differ."""
    if isinstance(peer_result, dict):
        return [
            difference
            for name, value in peer_result.items()
            for difference in _list_differences(f"{where}.{name}", result[name], value)
        ]
    if isinstance(peer_result, list) and len(result) == len(peer_result):
        return [
            difference
            for i, value in enumerate(peer_result)
            for difference in _list_differences(f"{where}.{i}", result[i], value)
        ]
    same = (
        math.isclose(result, peer_result, rel_tol=1e-9, abs_tol=1e-12)
        if isinstance(peer_result, float)
        else result == peer_result
    )
    return [] if same else [f"{where}: {result} and {peer_result}"]
