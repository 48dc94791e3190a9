"""The command line: what each command says and how it exits. Errors are one line, never a traceback."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from tests.audit.chains import KEY
from tests.logs.test_reader import numbered, write
from tests.paths import DATA
from tests.workspace.test_workspace import content
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE
from ttplan.cli.entrypoint import run

ROUTES = str(DATA / "routes.yaml")


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A store with a small log and one projected plan."""
    log = write(tmp_path / "log.jsonl", numbered(400, tag="chat", latency_ms=900))
    assert run(["import", str(log)]) == 0
    assert run(["plan", ROUTES, "--name", "cheaper"]) == 0
    capsys.readouterr()
    return tmp_path / "s.duckdb"


def plan_id(capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["plans", "--json"]) == 0
    found: str = json.loads(capsys.readouterr().out)[0]["plan_id"]
    return found


def fails(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command exits so, with one line on stderr that says so and nothing on stdout."""
    capsys.readouterr()
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("ttplan: ")
    assert message in err
    assert "Traceback" not in err


def test_the_whole_story(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan_id(capsys)
    assert run(["show", found[:8]]) == 0
    assert "cheaper  [projected]" in capsys.readouterr().out
    assert run(["apply", found, "--yes", "--user", str(UUID(int=7))]) == 0
    assert "3 routes are live" in capsys.readouterr().out
    assert run(["routes"]) == 0
    assert "short chat to mini" in capsys.readouterr().out
    assert run(["savings"]) == 0
    assert "cheaper" in capsys.readouterr().out
    assert run(["savings", "--by", "day", "--by", "model", "--plan", found[:8], "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [*rows[0]][:5] == ["plan_id", "name", "status", "day", "model"]
    fails(
        ["savings", "--by", "hour"],
        2,
        "savings by 'hour'; expected plan, or one or more of route, tag",
        capsys,
    )
    assert run(["plans"]) == 0
    assert "applied" in capsys.readouterr().out
    chain = tmp_path / "chain.jsonl"
    assert run(["export", str(chain)]) == 0
    assert "1 entry written" in capsys.readouterr().out
    for source in (str(store), str(chain)):
        assert run(["verify", source, "--key-hex", KEY.public_key.hex]) == 0
        assert "VERIFIED: 1 entry" in capsys.readouterr().out
        assert run(["verify", source]) == 4
        assert "CONSISTENT WITH ITS OWN KEY" in capsys.readouterr().out
        assert run(["verify", source, "--key-hex", KEY.public_key.hex, "--signatures", "tip"]) == 0


def test_json_is_one_document_and_nothing_else(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = plan_id(capsys)
    log = str(tmp_path / "log.jsonl")
    for arguments in (
        ["import", log],
        ["plan", ROUTES, "--name", "q"],
        ["suggest", "--target", "gpt-4o-mini"],
        ["plans"],
        ["show", found],
        ["apply", found, "--yes"],
        ["routes"],
        ["savings"],
        ["export", str(tmp_path / "c.jsonl")],
        ["keygen", str(tmp_path / "k.pem")],
        ["verify", str(store), "--key-hex", KEY.public_key.hex],
    ):
        assert run([*arguments, "--json"]) == 0
        out, err = capsys.readouterr()
        json.loads(out)
        assert err == ""
    assert run(["show", found, "--json"]) == 0
    assert "nonce" not in json.loads(capsys.readouterr().out)


def test_suggested_routes_are_shown_written_and_planned(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, routes = str(tmp_path / "sample.duckdb"), str(tmp_path / "suggested.yaml")
    assert run(["import", str(DATA / "requests.parquet"), "--store", sample]) == 0
    capsys.readouterr()
    asking = [
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
    assert run([*asking, "--output", routes]) == 0
    out = capsys.readouterr().out
    assert "3 routes suggested, 3 confirmed" in out
    assert "gpt-4o → gpt-4o-mini" in out
    assert f"3 routes written to {routes}" in out
    assert run(["plan", routes, "--name", "as suggested", "--store", sample]) == 0
    assert "gpt-4o → gpt-4o-mini" in capsys.readouterr().out
    fails([*asking, "--output", routes], 2, "exists already", capsys)
    assert run([*asking, "--output", routes, "--overwrite", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["route"]["when"]["model_in"] for item in items] == [
        ["gpt-4o"],
        ["claude-sonnet-4-5"],
        ["claude-haiku-4-5"],
    ]
    fails([*asking, "--by", "hour"], 2, "expected one or more of tag, model, input_tokens", capsys)
    fails(
        ["suggest", "--target", "nobody's", "--store", sample],
        2,
        "no price for any of the target models",
        capsys,
    )
    fails(["suggest", "--store", sample], 2, "--target", capsys)


def test_a_broken_chain_exits_1_and_names_the_entry(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["apply", plan_id(capsys), "--yes"])
    chain = tmp_path / "chain.jsonl"
    run(["export", str(chain)])
    chain.write_bytes(chain.read_bytes().replace(b'"sample_size":400', b'"sample_size":401'))
    capsys.readouterr()
    assert run(["verify", str(chain), "--key-hex", KEY.public_key.hex]) == 1
    assert "first bad entry: 0 (HashMismatch)" in capsys.readouterr().out
    assert run(["verify", str(chain), "--key-hex", KEY.public_key.hex, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_bad"]["index"] == 0


def test_a_chain_that_does_not_reach_its_anchor_exits_1(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["apply", plan_id(capsys), "--yes"])
    capsys.readouterr()
    assert (
        run(["verify", str(store), "--key-hex", KEY.public_key.hex, "--anchor", "3:" + "ab" * 32])
        == 1
    )
    assert "TruncatedChain" in capsys.readouterr().out


def test_bad_input_is_one_line_and_leaves_the_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = plan_id(capsys)
    before = content(store)
    (tmp_path / "cut.parquet").write_bytes((DATA / "requests.parquet").read_bytes()[:-500])
    (tmp_path / "header.csv").write_text("a,b\n1,2\n")
    bad: dict[str, list[dict[str, object]]] = {
        "negative.csv": numbered(2, input_tokens=-1),
        "fraction.jsonl": numbered(2, input_tokens=1.5),
        "nan.csv": numbered(2, cost_usd="NaN"),
        "naive.csv": numbered(2, ts="2026-05-01 12:00:00"),
        "twice.csv": [*numbered(1, tag="new"), *numbered(1, tag="new")],
        "changed.csv": numbered(1, tag="other"),
    }
    for name, rows in bad.items():
        write(tmp_path / name, rows)
    routes = {
        "key.yaml": "routes: [{name: a, priority: 1, when: {tag: x}, then: {target_model: gpt-4o-mini}}]",
        "names.yaml": "routes:\n"
        + "".join(
            f"- {{id: {i}, name: a, priority: 1, then: {{target_model: m}}}}\n" for i in "ab"
        ),
        "price.yaml": "routes: [{name: a, priority: 1, then: {target_model: no-such-model}}]",
        "broken.yaml": "routes: [",
    }
    for name, text in routes.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "cut.jsonl").write_bytes(b'{"meta":true')
    (tmp_path / "other.pem").write_text("no key")
    (tmp_path / "other.pem").chmod(0o600)
    at = str(tmp_path) + "/"
    cases: list[tuple[list[str], int, str]] = [
        (["import", at + "none.parquet"], 2, "none.parquet: no such file"),
        (["import", at + "cut.parquet"], 2, "cut.parquet cannot be read as parquet"),
        (["import", at + "header.csv"], 2, "header.csv: no column id"),
        (["import", at + "negative.csv"], 2, "input_tokens: expected a whole number"),
        (["import", at + "fraction.jsonl"], 2, "row 1: '1.5'"),
        (["import", at + "nan.csv"], 2, "cost_usd: expected an amount in USD"),
        (["import", at + "naive.csv"], 2, "ts: expected a time with its zone"),
        (["import", at + "twice.csv"], 2, "stands in row 1 and in row 2"),
        (["import", at + "changed.csv"], 2, "is in the store already with another"),
        (["plan", at + "none.yaml", "--name", "p"], 2, "none.yaml: no such file"),
        (["plan", at + "key.yaml", "--name", "p"], 2, "when.tag: this key is not known"),
        (["plan", at + "names.yaml", "--name", "p"], 2, "two routes have the name 'a'"),
        (["plan", at + "price.yaml", "--name", "p"], 2, "no price for model 'no-such-model'"),
        (["plan", at + "broken.yaml", "--name", "p"], 2, "broken.yaml, line"),
        (
            [
                "plan",
                ROUTES,
                "--name",
                "p",
                "--start",
                "2026-05-02T00:00:00Z",
                "--end",
                "2026-05-01T00:00:00Z",
            ],
            2,
            "not after its start",
        ),
        (
            ["plan", ROUTES, "--name", "p", "--start", "2026-05-02"],
            2,
            "--start and --end go together",
        ),
        (
            ["plan", ROUTES, "--name", "p", "--start", "2026-05-02", "--end", "2026-05-03"],
            2,
            "has no time zone",
        ),
        (["plan", ROUTES, "--name", "p", "--method", "magic"], 2, "expected one of limit"),
        (["plan", ROUTES], 2, "--name"),
        (["show", "12345678"], 2, "no plan 12345678"),
        (["apply", str(UUID(int=5)), "--yes"], 2, "no plan"),
        (["apply", found, "--yes", "--user", "me"], 2, "--user is 'me'; expected a UUID"),
        (["apply", found, "--yes", "--system", "--user", str(UUID(int=5))], 2, "only one of them"),
        (["apply", found, "--json"], 2, "say --yes"),
        (["apply", found, "--yes", "--key-file", at + "none.pem"], 2, "no signing key at"),
        (["apply", found, "--yes", "--key-file", at + "other.pem"], 2, "is no private key"),
        (["plans", "--store", at + "none.duckdb"], 2, "no such store"),
        (["plans", "--store", at + "log.jsonl"], 3, "is not a DuckDB file"),
        (["verify", at + "none.jsonl"], 2, "none.jsonl cannot be read"),
        (["verify", at + "none.duckdb"], 2, "no such store"),
        (["verify", at + "cut.jsonl", "--key-hex", "22" * 32], 2, "line 1: not JSON"),
        (["verify", str(store), "--key-hex", "xyz"], 2, "expected 64 hex digits"),
        (["verify", str(store), "--key-hex", "00" * 32], 2, "small order"),
        (["verify", str(store), "--anchor", "7"], 2, "is not an anchor"),
        (["verify", str(store), "--signatures", "some"], 2, "expected all or tip"),
        (["keygen", at + "other.pem"], 2, "exists already"),
        (["export", at + "log.jsonl"], 2, "exists already"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["demo", "--store", str(store)], 2, "exists already"),
    ]
    for arguments, code, message in cases:
        fails(arguments, code, message, capsys)
    assert content(store) == before


def test_asking_before_applying(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = plan_id(capsys)
    before = content(store)
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["apply", found]) == 130
    out, err = capsys.readouterr()
    assert "Apply this plan?" in out + err
    assert "nothing was done" in err
    assert content(store) == before


def test_what_should_not_happen_is_still_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("ttplan.cli.entrypoint.app", broken)
    fails(["plans"], 3, "this should not happen: ZeroDivisionError: odd", capsys)


def test_the_demo_tells_the_whole_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--store", str(tmp_path / "demo.duckdb")]) == 0
    out = capsys.readouterr().out
    for said in (
        "28,185 added",
        "saves",
        "USD",
        "3 routes live",
        "VERIFIED: 1 entry",
        "BROKEN: 0 entries",
        "(HashMismatch)",
    ):
        assert said in out
    assert run(["demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["verdict"] == "verified"


def test_help_and_a_closed_pipe() -> None:
    module = [sys.executable, "-m", "ttplan"]
    done = subprocess.run([*module, "--help"], capture_output=True, text=True, check=True)
    assert "import" in done.stdout
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout == done.stdout
    talking = subprocess.Popen(
        [*module, "demo", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert talking.stdout is not None
    assert talking.stderr is not None
    talking.stdout.close()
    assert talking.stderr.read() == b""
    talking.stderr.close()
    assert talking.wait() in (0, 1)


def test_a_back_test_is_shown_and_what_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", str(DATA / "requests.parquet")]) == 0
    capsys.readouterr()
    assert run(["backtest", ROUTES, "--period", "20m", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["period_seconds"], len(found["comparisons"])) == (1200, 4)
    assert run(["backtest", ROUTES, "--period", "20m"]) == 0
    assert "back-test: 1 pair of periods of 0:20:00" in capsys.readouterr().out
    fails(
        ["backtest", ROUTES],
        2,
        "has 0 whole periods of 7 days; expected 2 to 1,000: choose a shorter period",
        capsys,
    )
    fails(
        ["backtest", ROUTES, "--period", "7x"],
        2,
        "expected a length such as 7d, 12h, 30m or 90s",
        capsys,
    )
