"""Commands that make and show plans."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from tests.audit.chains import KEY
from tests.cli.support import ROUTES, check_error, first_plan_id, run_json
from ttplan.cli.entrypoint import run


def test_plan_apply_export_and_verify(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = first_plan_id(capsys)
    assert run(["show", plan[:8]]) == 0
    assert "cheaper [projected]" in capsys.readouterr().out
    assert run(["apply", plan, "--yes", "--user", str(UUID(int=7))]) == 0
    assert "3 routes are live" in capsys.readouterr().out
    assert run(["routes"]) == 0
    assert "short chat to mini" in capsys.readouterr().out
    assert run(["savings"]) == 0
    assert "cheaper" in capsys.readouterr().out
    assert run(["savings", "--by", "day", "--by", "model", "--plan", plan[:8], "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [*rows[0]][:5] == ["plan_id", "name", "status", "day", "model"]
    assert run(["savings", "--by", "cause"]) == 0
    assert "prices" in capsys.readouterr().out
    check_error(
        ["savings", "--by", "hour"],
        2,
        "savings by 'hour'; expected plan, cause, or one or more of route, tag",
        capsys,
    )
    assert run(["plans"]) == 0
    assert "applied" in capsys.readouterr().out
    chain = tmp_path / "chain.jsonl"
    assert run(["export-chain", str(chain)]) == 0
    assert "1 entry written" in capsys.readouterr().out
    for source in (str(store), str(chain)):
        assert run(["verify", source, "--key-hex", KEY.public_key.hex]) == 0
        assert "VERIFIED: 1 entry" in capsys.readouterr().out
        assert run(["verify", source]) == 4
        assert "CONSISTENT WITH ITS OWN KEY" in capsys.readouterr().out
        assert run(["verify", source, "--key-hex", KEY.public_key.hex, "--signatures", "tip"]) == 0


def test_json_prints_exactly_one_document(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = first_plan_id(capsys)
    log = str(tmp_path / "log.jsonl")
    for arguments in (
        ["import", log],
        ["plan", ROUTES, "--name", "q"],
        ["suggest", "--target", "gpt-4o-mini"],
        ["plans"],
        ["show", plan],
        ["apply", plan, "--yes"],
        ["routes"],
        ["savings"],
        ["export-chain", str(tmp_path / "c.jsonl")],
        ["key", "generate", str(tmp_path / "k.pem")],
        ["verify", str(store), "--key-hex", KEY.public_key.hex],
    ):
        assert run([*arguments, "--json"]) == 0
        out, err = capsys.readouterr()
        json.loads(out)
        assert err == ""
    assert run(["show", plan, "--json"]) == 0
    assert "nonce" not in json.loads(capsys.readouterr().out)


def test_suggested_routes_are_shown_written_and_planned(
    sample_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, routes = str(tmp_path / "sample.duckdb"), str(tmp_path / "suggested.yaml")
    shutil.copy(sample_store, sample)
    command = [
        "suggest",
        "--target",
        "gpt-4o-mini",
        "--target",
        "claude-haiku-4-5",
        "--by",
        "tag, model",
        "--store",
        sample,
    ]
    assert run([*command, "--output", routes]) == 0
    out = capsys.readouterr().out
    assert "3 routes suggested, 3 confirmed" in out
    assert "gpt-4o → gpt-4o-mini" in out
    assert f"3 routes written to {routes}" in out
    assert run(["plan", routes, "--name", "as suggested", "--store", sample]) == 0
    assert "gpt-4o → gpt-4o-mini" in capsys.readouterr().out
    check_error([*command, "--output", routes], 2, "exists already", capsys)
    assert run([*command, "--output", routes, "--overwrite", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["route"]["when"]["model_in"] for item in items] == [
        ["gpt-4o"],
        ["claude-sonnet-4-5"],
        ["claude-haiku-4-5"],
    ]
    check_error(
        [*command, "--by", "hour"], 2, "expected one or more of tag, model, input_tokens", capsys
    )
    check_error(
        ["suggest", "--target", "nobody's", "--store", sample],
        2,
        "no price for any of the target models",
        capsys,
    )
    check_error(["suggest", "--store", sample], 2, "--target", capsys)
    check_error([*command, "--projection", "flat"], 2, "expected full or reference", capsys)
    facts = tmp_path / "facts.yaml"
    facts.write_text("openai:gpt-4o-mini: {context_tokens: 1}\n")
    limited = run_json(capsys, *command, "--facts", str(facts))["items"]
    assert {item["route"]["then"]["target_model"] for item in limited} == {"claude-haiku-4-5"}


def test_assumptions_and_projections(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = first_plan_id(capsys)
    assert run(["assumptions", plan[:8]]) == 0
    assert "ratio_out" in capsys.readouterr().out
    rows = run_json(capsys, "assumptions", plan)
    shown = {row["assumption"]: row["break_even"] for row in rows}
    shown_plan = run_json(capsys, "show", plan)["result"]["assumptions"]
    assert {part["name"]: part["break_even"] for part in shown_plan}.keys() == shown.keys()
    facts = tmp_path / "facts.yaml"
    facts.write_text("openai:gpt-4o-mini: {context_tokens: 1}\n")
    limited = run_json(capsys, "plan", ROUTES, "--name", "limited", "--facts", str(facts))
    aggregates = limited["result"]["aggregates"]
    assert aggregates["requests_ineligible"] > 0
    flat = run_json(capsys, "plan", ROUTES, "--name", "flat", "--projection", "reference")
    assert "full" not in flat["result"]
    assert run(["assumptions", flat["plan_id"]]) == 0
    assert "not a full projection" in capsys.readouterr().out
    wrong = ["plan", ROUTES, "--name", "wrong", "--projection", "flat"]
    check_error(wrong, 2, "--projection is 'flat'; expected full or reference", capsys)


def test_backtest_shows_periods_and_refuses_bad_ones(
    sample_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["backtest", ROUTES, "--store", str(sample_store)]
    result = run_json(capsys, *command, "--period", "20m")
    assert (result["period_seconds"], len(result["comparisons"])) == (1200, 4)
    assert run([*command, "--period", "20m"]) == 0
    assert "back-test: 1 pair of periods of 20 minutes" in capsys.readouterr().out
    check_error(
        command,
        2,
        "has 0 whole periods of 7 days; expected 2 to 1,000: choose a shorter period",
        capsys,
    )
    check_error(
        [*command, "--period", "7x"],
        2,
        "expected a duration such as 7d, 12h, 30m or 90s",
        capsys,
    )
