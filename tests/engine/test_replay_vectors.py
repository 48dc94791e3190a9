"""Against the published Rust engine: point estimates to 1e-9, intervals of its own method bit for
bit."""

from __future__ import annotations

import gzip
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.paths import VECTORS
from ttplan import replay
from ttplan.model.plan import PlanInput

CASES = sorted((VECTORS / "replay").glob("*.json.gz"))


def close(computed: Any, reference: Any) -> bool:
    """Floats to 1e-9, all else the same; `computed` may say more than `reference`."""
    if isinstance(reference, dict):
        return all(close(computed[name], value) for name, value in reference.items())
    if isinstance(reference, list):
        return len(computed) == len(reference) and all(map(close, computed, reference))
    return (
        math.isclose(computed, reference, rel_tol=1e-9, abs_tol=1e-12)
        if isinstance(reference, float)
        else bool(computed == reference)
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.split(".")[0])
def test_the_rust_engines_results_are_ours(path: Path) -> None:
    vector = json.loads(gzip.decompress(path.read_bytes()))
    reference = vector["result"]
    plan = PlanInput.model_validate(vector["input"])
    computed = replay(plan, interval_method="tt-plan-core").model_dump(mode="json")
    assert computed["interval_method"] == "tt-plan-core"
    assert computed["sample_size"] == reference["sample_size"]
    for name, value in reference["aggregates"].items():
        assert close(computed["aggregates"][name], value), name
    for name, ends in reference["confidence_intervals"].items():
        assert computed["confidence_intervals"][name] == ends, name
    assert len(computed["per_route_breakdown"]) == len(reference["per_route_breakdown"])
    for mine, other in zip(
        computed["per_route_breakdown"], reference["per_route_breakdown"], strict=True
    ):
        for name, value in other.items():
            assert close(mine[name], value), name


def test_vectors_with_embeddings_cover_thresholds_and_hits() -> None:
    for name, expires in (("semantic", False), ("semantic-brief", True)):
        vector = json.loads(gzip.decompress((VECTORS / "replay" / f"{name}.json.gz").read_bytes()))
        aggregates = vector["result"]["aggregates"]
        by_threshold = aggregates["l2_projections"]
        assert [row["threshold"] for row in by_threshold] == [0.85, 0.9, 0.92, 0.95]
        assert len({row["projected_l2_hits"] for row in by_threshold}) == 4
        poisoned = [row["poisoning_candidates"] for row in by_threshold]
        assert (
            max(poisoned) < aggregates["l2_poisoning_candidates"] < sum(poisoned)
        )  # counted once for each request
        known = [
            row["embedding"] for row in vector["input"]["requests"] if row["embedding"] is not None
        ]
        assert by_threshold[0]["total"] == len(known) < len(vector["input"]["requests"])
        assert {len(embedding) for embedding in known} == {7, 8}
        assert any(not any(embedding) for embedding in known)
        window = datetime.fromisoformat(vector["input"]["window_end"]) - datetime.fromisoformat(
            vector["input"]["window_start"]
        )
        assert (vector["input"]["config"]["l2_ttl_seconds"] < window.total_seconds()) == expires


def test_there_are_vectors_of_every_kind() -> None:
    assert {path.name.split(".")[0] for path in CASES} == {
        "cached",
        "empty",
        "one",
        "routed",
        "semantic",
        "semantic-brief",
        "small",
    }
