"""Against the published Rust engine: point estimates to 1e-9, intervals of its own method bit for bit."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ttplan import replay
from ttplan.model.plan import PlanInput

VECTORS = sorted((Path(__file__).parent / "vectors" / "replay").glob("*.json.gz"))


def close(ours: Any, theirs: Any) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12) if isinstance(theirs, float) else bool(ours == theirs)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name.split(".")[0])
def test_the_rust_engines_results_are_ours(path: Path) -> None:
    vector = json.loads(gzip.decompress(path.read_bytes()))
    theirs = vector["result"]
    plan = PlanInput.model_validate(vector["input"])
    ours = replay(plan, interval_method="tt-plan-core").model_dump(mode="json")
    assert ours["interval_method"] == "tt-plan-core"
    assert ours["sample_size"] == theirs["sample_size"]
    for name, value in theirs["aggregates"].items():
        assert close(ours["aggregates"][name], value), name
    for name, ends in theirs["confidence_intervals"].items():
        assert ours["confidence_intervals"][name] == ends, name
    assert len(ours["per_route_breakdown"]) == len(theirs["per_route_breakdown"])
    for mine, other in zip(ours["per_route_breakdown"], theirs["per_route_breakdown"], strict=True):
        for name, value in other.items():
            assert close(mine[name], value), name


def test_there_are_vectors_of_every_kind() -> None:
    assert {path.name.split(".")[0] for path in VECTORS} == {"cached", "empty", "one", "routed", "small"}
