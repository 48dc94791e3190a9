"""Commands on policies, approvals and adopted routes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.audit.chains import OTHER_KEY
from tests.cli.support import check_error
from tests.logs.test_reader import numbered, write
from tests.policy.support import ANN
from tests.support import plans
from tests.workspace.test_workspace import NOW, opened
from ttplan.audit.keys.key_files import save_key
from ttplan.cli.entrypoint import run
from ttplan.model.route import RouteAction, RouteConditions
from ttplan.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace with 300 requests, whose clock moves on."""
    moments = (NOW + timedelta(minutes=n) for n in range(10**6))
    workspace = opened(tmp_path / "s.duckdb", clock=lambda: next(moments))
    workspace.import_logs(write(tmp_path / "log.jsonl", numbered(300, tag="chat", latency_ms=900)))
    return workspace


def test_policy_commands(ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    route = plans.named("a", when=RouteConditions(), then=RouteAction(target_model="gpt-4o-mini"))
    plan = str(ws.plan([route], name="p", author=ANN).plan_id)
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "rules: [{rule: savings > 1000}]\napprovals: {needed: 1, other_than_author: true}\n"
    )
    check_error(["set-policy"], 2, "give either the file with the rules, or --none", capsys)
    assert run(["check-policy", plan]) == 0
    assert "no policy" in capsys.readouterr().out
    assert run(["set-policy", str(policy), "--user", str(UUID(int=12))]) == 0
    assert "policy set: " in capsys.readouterr().out
    assert run(["check-policy", plan, "--json"]) == 1
    assert [verdict["ok"] for verdict in json.loads(capsys.readouterr().out)["verdicts"]] == [
        False,
        False,
    ]
    assert run(["approve", plan, "--user", str(UUID(int=11))]) == 0
    assert (
        "BLOCKS  approved by 1 person other than its author  0 approved it"
        in capsys.readouterr().out
    )
    save_key(OTHER_KEY, tmp_path / "own.pem")
    assert (
        run(
            [
                "approve",
                plan,
                "--user",
                str(UUID(int=12)),
                "--own-key",
                str(tmp_path / "own.pem"),
                "--json",
            ]
        )
        == 0
    )
    assert (
        json.loads(capsys.readouterr().out)["payload"]["approver_key"] == OTHER_KEY.public_key.hex
    )
    check_error(["apply", plan, "--yes"], 1, "does not meet the policy: 'savings > 1000'", capsys)
    check_error(
        ["apply", plan, "--yes", "--reason", "because"], 2, "needs both --override-by", capsys
    )
    assert (
        run(["apply", plan, "--yes", "--override-by", "Ann", "--reason", "because", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["payload"]["override"]["by"] == "Ann"
    assert run(["set-policy", "--none"]) == 0


def test_adopt_makes_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "new.duckdb"))
    routes = tmp_path / "r.json"
    routes.write_text('[{"name": "a", "then": {"target_model": "m"}}]')
    assert run(["adopt", str(routes), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["name"] == "as the gateway has it"
    assert run(["apply", plan["plan_id"], "--yes"]) == 0
    check_error(
        ["adopt", str(routes), "--from", "nginx"], 2, "'nginx' is not a known gateway", capsys
    )
