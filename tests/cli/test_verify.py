"""Commands that verify and compare audit chains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.audit.chains import KEY, OTHER_KEY, chain, entry, exported
from tests.cli.support import check_error, first_plan_id, run_json, run_text
from ttplan.cli.entrypoint import run
from ttplan.model.audit import TipAnchor

PUBLIC = KEY.public_key.hex


def test_a_broken_chain_exits_1_and_names_the_entry(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["apply", first_plan_id(capsys), "--yes"])
    chain = tmp_path / "chain.jsonl"
    run(["export-chain", str(chain)])
    chain.write_bytes(chain.read_bytes().replace(b'"sample_size":400', b'"sample_size":401'))
    capsys.readouterr()
    assert run(["verify", str(chain), "--key-hex", KEY.public_key.hex]) == 1
    assert "first bad entry: 0 (HashMismatch)" in capsys.readouterr().out
    assert run(["verify", str(chain), "--key-hex", KEY.public_key.hex, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_bad"]["index"] == 0


def test_a_chain_that_misses_its_anchor_exits_1(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["apply", first_plan_id(capsys), "--yes"])
    capsys.readouterr()
    assert (
        run(["verify", str(store), "--key-hex", KEY.public_key.hex, "--anchor", "3:" + "ab" * 32])
        == 1
    )
    assert "TruncatedChain" in capsys.readouterr().out


def test_verify_since_an_anchor_and_with_html_report(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["export-chain", "chain.jsonl"])
    tip = run_json(capsys, "anchor")["anchor"]
    first = "0:" + json.loads((tmp_path / "chain.jsonl").read_text().split("\n")[1])["hash"]
    for source in ("s.duckdb", "chain.jsonl"):
        report = run_json(capsys, "verify", source, "--key-hex", PUBLIC, "--since", first)
        assert (report["verdict"], report["entries"], report["since"]["seq"]) == ("verified", 1, 0)
        assert run_text(capsys, "verify", source, "--since", first, code=4).startswith(
            "CONSISTENT WITH ITS OWN KEY: 1 entry after seq 0\n"
        )
        assert (
            run(
                [
                    "verify",
                    source,
                    "--key-hex",
                    PUBLIC,
                    "--resume",
                    "state",
                    "--html",
                    f"{source}.html",
                ]
            )
            == 0
        )
        assert not (tmp_path / "state").exists()
        assert f"<title>verified: {source}</title>" in (tmp_path / f"{source}.html").read_text()
        check_error(
            ["verify", source, "--key-hex", PUBLIC, "--html", f"{source}.html"],
            2,
            "exists already",
            capsys,
        )
        assert run_json(
            capsys, "verify", source, "--key-hex", PUBLIC, "--since", "0:" + "ab" * 32, code=1
        )["first_bad"]["reason"]
    check_error(
        ["verify", "chain.jsonl", "--key-hex", PUBLIC, "--since", tip, "--through", first],
        2,
        "is before 1:",
        capsys,
    )
    check_error(
        ["verify", "chain.jsonl", "--since", first, "--checkpoint", "cp"],
        2,
        "a checkpoint covers the whole chain",
        capsys,
    )
    check_error(["verify", "chain.jsonl", "--since", "7"], 2, "is not an anchor", capsys)


def test_two_histories_are_found_and_saved_as_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = chain(4)
    fork = [*entries[:3], entry(TipAnchor(2, entries[2].hash), payload={"other": True})]
    for name, fork_or_entries in (
        ("a.jsonl", entries),
        ("b.jsonl", fork),
        ("c.jsonl", entries[:2]),
        ("d.jsonl", [*entries, fork[3]]),
    ):
        (tmp_path / name).write_bytes(exported(fork_or_entries))
    assert "no two signed entries" in run_text(
        capsys, "compare", "a.jsonl", "c.jsonl", "--key-hex", PUBLIC
    )
    assert run_json(capsys, "compare", "a.jsonl", "c.jsonl", "--key-hex", PUBLIC) is None
    fork_or_entries = run_json(
        capsys, "compare", "a.jsonl", "b.jsonl", "--key-hex", PUBLIC, "--evidence", "e.json", code=1
    )
    assert fork_or_entries["seq"] == 3
    assert "signed two histories" in run_text(
        capsys, "compare", "e.json", "--check", "--key-hex", PUBLIC, code=1
    )
    assert run(["verify", "d.jsonl", "--key-hex", PUBLIC, "--evidence", "f.json"]) == 1
    assert (tmp_path / "f.json").read_bytes() == (tmp_path / "e.json").read_bytes()
    check_error(
        ["compare", "e.json", "--check", "--key-hex", OTHER_KEY.public_key.hex],
        1,
        "is about the key",
        capsys,
    )
    check_error(["compare", "a.jsonl", "--key-hex", PUBLIC], 2, "compare needs two chains", capsys)
    check_error(["compare", "a.jsonl", "b.jsonl"], 2, "compare needs two chains", capsys)
