"""Routes that are adopted from a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.logs.test_reader import numbered, write
from tests.support import plans
from tests.workspace.test_workspace import content, opened
from ttplan.model.errors import (
    InputError,
    UnsupportedByGateway,
)
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions


def route(name: str, **when: Any) -> ProposedRoute:
    return plans.named(
        name, when=RouteConditions(**when), then=RouteAction(target_model="gpt-4o-mini")
    )


def test_adopted_routes_claim_no_savings_and_export_the_same(tmp_path: Path) -> None:
    source = opened(tmp_path / "one.duckdb")
    source.import_logs(write(tmp_path / "log.jsonl", numbered(300, tag="chat")))
    source.apply(
        source.plan(
            [route("a", model_in=("gpt-4o",), tag_equals="chat"), route("bb", input_tokens_lt=9)],
            name="p",
        )
    )
    source.export_routes(tmp_path / "routes.json")
    target = opened(tmp_path / "other.duckdb")
    plan = target.adopt(tmp_path / "routes.json")
    assert (
        plan.status,
        plan.result.sample_size,
        float(plan.result.aggregates.projected_savings_usd),
    ) == ("projected", 0, 0.0)
    assert "claims no savings" in plan.result.caveats[0]
    entry = target.apply(plan)
    assert entry.payload["projected_savings_usd"] == 0.0
    assert entry.payload["change_vs_actual_usd"] == 0.0
    assert target.drift().ok
    target.export_routes(tmp_path / "second.json")
    assert (tmp_path / "second.json").read_bytes() == (tmp_path / "routes.json").read_bytes()
    with pytest.raises(InputError, match="routes are live in this store already"):
        target.adopt(tmp_path / "routes.json")


def test_a_litellm_config_is_recognised(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "model_list:\n- {model_name: cheap, litellm_params: {model: openai/gpt-4o-mini}}\n"
    )
    ws = opened(tmp_path / "s.duckdb")
    (adopted,) = ws.adopt(config, name="theirs").result.proposed_routes
    assert (adopted.name, adopted.when.model_in, adopted.then.target_model) == (
        "cheap",
        ("cheap",),
        "gpt-4o-mini",
    )


def test_unsupported_fields_are_refused_unless_allowed(tmp_path: Path) -> None:
    routes = tmp_path / "r.yaml"
    routes.write_text("- {name: a, then: {target_model: m, traffic_pct: 5}}\n")
    ws = opened(tmp_path / "s.duckdb")
    before = content(tmp_path / "s.duckdb")
    with pytest.raises(UnsupportedByGateway, match=r"then\.traffic_pct"):
        ws.adopt(routes)
    assert content(tmp_path / "s.duckdb") == before
    assert "traffic_pct" in ws.adopt(routes, allow_loss=True).result.caveats[1]
    routes.write_text("[]")
    with pytest.raises(InputError, match="has no routes"):
        ws.adopt(routes)
