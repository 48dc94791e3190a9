"""Commands that make evidence, and check it from files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.audit.chains import KEY, OTHER_KEY, chain, exported
from tests.cli.support import check_error, run_json, run_text
from tests.paths import ROOT
from ttplan.cli.entrypoint import run

PUBLIC = KEY.public_key.hex
ORIGIN = "example.com/log1"


def test_anchors_are_printed_recorded_and_verified(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tip = run_text(capsys, "anchor").strip()
    assert run_json(capsys, "anchor", "--append", "anchors") == {
        "anchor": tip,
        "seq": 1,
        "hash": tip.split(":")[1],
        "appended": True,
    }
    assert run_json(capsys, "anchor", "--append", "anchors", "--heartbeat")["appended"] is True
    assert len((tmp_path / "anchors").read_text().splitlines()) == 2
    script = "import sys; open('handed', 'wb').write(sys.stdin.buffer.read())"
    assert run(["anchor", "--command", f'{sys.executable} -c "{script}"']) == 0
    assert (tmp_path / "handed").read_text().startswith(tip + " ")
    assert run(["export-chain", "chain.jsonl"]) == 0
    for source in ("s.duckdb", "chain.jsonl"):
        assert "earlier anchors" in run_text(
            capsys, "verify", source, "--key-hex", PUBLIC, "--anchors", "anchors"
        )
        assert run(["verify", source, "--key-hex", PUBLIC, "--through", tip, "--anchor", tip]) == 0
        report = run_json(
            capsys, "verify", source, "--key-hex", PUBLIC, "--through", "0:" + "ab" * 32, code=1
        )
        assert report["first_bad"]["reason"] == "rewritten"
        assert run(["verify", source, "--key-hex", PUBLIC, "--distrust-after", tip]) == 0
    check_error(["anchor", "--heartbeat"], 2, "--heartbeat is for a file", capsys)
    (tmp_path / "anchors").write_text("7:" + "ab" * 32 + "\n")
    check_error(
        ["anchor", "--append", "anchors"], 1, "the chain does not end at its anchor (short)", capsys
    )


def test_a_chain_is_exported_in_part_and_with_verifier(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_json(capsys, "export-chain", "chain.jsonl", "--with-verifier")["verifier"]
        == "verify_chain.py"
    )
    command = [sys.executable, "-I", "verify_chain.py", "chain.jsonl", PUBLIC]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("VERIFIED: 2 entries")
    for module in ("blake3", "json"):  # beside the script, to approve anything
        (tmp_path / f"{module}.py").write_text("print('VERIFIED: anything'); raise SystemExit(0)")
    assert (
        subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout == done.stdout
    )
    careless = subprocess.run(
        [sys.executable, *command[2:]], capture_output=True, text=True, cwd=tmp_path
    )
    assert (careless.returncode, careless.stdout[:30]) == (2, "BAD INPUT: run it as python -I")
    text = run_text(capsys, "export-chain", "again.jsonl", "--with-verifier")
    assert "its verifier: python -I verify_chain.py" in text
    digest = sha256((tmp_path / "verify_chain.py").read_bytes()).hexdigest()
    assert f"its SHA-256, to compare with the documentation: {digest}" in text
    assert digest in (ROOT / "docs" / "proofs.md").read_text()
    assert run_json(capsys, "export-chain", "first.jsonl", "--until", "0")["entries"] == 1
    assert run(["verify", "first.jsonl", "--key-hex", PUBLIC]) == 0
    check_error(
        ["export-chain", "none.jsonl", "--until", "2"],
        2,
        "the chain has no entry 2; it has 2, counted from 0",
        capsys,
    )
    assert not (tmp_path / "none.jsonl").exists()
    (tmp_path / "verify_chain.py").write_text("print('VERIFIED')")
    check_error(
        ["export-chain", "third.jsonl", "--with-verifier"],
        2,
        "verify_chain.py exists already",
        capsys,
    )


def test_an_entry_is_proved_as_json(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run_json(capsys, "prove", "0", "--output", "p.json")["root"]
    run(["export-chain", "chain.jsonl"])
    first = json.loads((tmp_path / "chain.jsonl").read_text().splitlines()[1])["hash"]
    assert "CONSISTENT WITH ITSELF" in run_text(
        capsys, "verify-proof", "p.json", "--hash", first, code=4
    )
    assert "PROVED" in run_text(capsys, "verify-proof", "p.json", "--hash", first, "--root", root)
    assert (
        run_json(capsys, "verify-proof", "p.json", "--chain", "chain.jsonl", "--key-hex", PUBLIC)[
            "vouched"
        ]
        is True
    )
    assert (
        run_json(
            capsys,
            "prove",
            "1",
            "--output",
            "q.json",
            "--chain",
            "chain.jsonl",
            "--key-hex",
            PUBLIC,
        )["root"]
        == root
    )
    check_error(["verify-proof", "p.json", "--hash", "ab" * 32], 1, "the proof has ", capsys)
    check_error(
        ["verify-proof", "p.json", "--hash", first, "--root", "ab" * 32], 1, "expected abab", capsys
    )
    check_error(["verify-proof", "p.json"], 2, "which entry?", capsys)
    proof = json.loads((tmp_path / "p.json").read_text())
    other = {"chain_id": "00000000-0000-0000-0000-0000000000ee"}
    (tmp_path / "other.json").write_text(json.dumps(proof | other))
    for where in (["--chain", "chain.jsonl", "--key-hex", PUBLIC], ["--hash", first]):
        organisation = ["--org", proof["chain_id"]] if "--hash" in where else []
        message = f"is a proof for the chain of '{other['chain_id']}'"
        check_error(["verify-proof", "other.json", *where, *organisation], 1, message, capsys)
    check_error(
        ["verify-proof", "p.json", "--hash", "x"], 2, "expected 64 lower-case hex digits", capsys
    )
    check_error(
        ["verify-proof", "p.json", "--hash", first, "--log", "x"],
        2,
        "is a JSON proof, which nobody signs",
        capsys,
    )
    check_error(
        ["prove", "2", "--output", "r.json"], 1, "there is no leaf 2 in a tree of 2", capsys
    )
    check_error(["prove", "0", "--output", "p.json"], 2, "exists already", capsys)
    run(["export-chain", "short.jsonl", "--until", "0"])
    check_error(
        ["verify-proof", "q.json", "--chain", "short.jsonl", "--key-hex", PUBLIC],
        1,
        "its end was cut off",
        capsys,
    )


def test_a_customer_checkpoint_is_signed_and_verified(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = tmp_path / "seed"
    seed.write_text("22" * 32)
    seed.chmod(0o600)
    made = run_json(capsys, "checkpoint", "create", "--seed-file", "seed", "--output", "c.json")
    run(["export-chain", "chain.jsonl"])
    customer = OTHER_KEY.public_key.hex
    assert "SIGNED BY THE CUSTOMER (form 1)" in run_text(
        capsys, "checkpoint", "verify", "c.json", "--customer-key", customer
    )
    both = run_text(
        capsys,
        "checkpoint",
        "verify",
        "c.json",
        "--customer-key",
        customer,
        "--chain",
        "chain.jsonl",
    )
    assert "VERIFIED: 2 entries" in both
    assert "from the customer's checkpoint c.json" in both
    run(["export-chain", "short.jsonl", "--until", "0"])
    arguments = (
        "checkpoint",
        "verify",
        "c.json",
        "--customer-key",
        customer,
        "--chain",
        "short.jsonl",
    )
    report = run_json(capsys, *arguments, code=1)
    assert (report["anchor"], report["chain"]["first_bad"]["reason"]) == (made["anchor"], "short")
    check_error(
        ["checkpoint", "verify", "c.json", "--customer-key", PUBLIC], 1, "bad signature", capsys
    )
    check_error(
        ["checkpoint", "create", "--seed-file", "seed", "--output", "c.json"],
        2,
        "exists already",
        capsys,
    )
    seed.chmod(0o644)
    check_error(
        ["checkpoint", "create", "--seed-file", "seed", "--output", "d.json"],
        2,
        "run: chmod 600",
        capsys,
    )
    (tmp_path / "other.jsonl").write_bytes(exported(chain(2)))
    last = f"1:{json.loads((tmp_path / 'other.jsonl').read_text().splitlines()[2])['hash']}"
    assert last != made["anchor"]
    arguments = (
        "checkpoint",
        "verify",
        "c.json",
        "--customer-key",
        customer,
        "--chain",
        "other.jsonl",
    )
    check_error(list(arguments), 1, "the chain of 00000000-0000-0000-0000-000000000001", capsys)


def test_a_plans_routes_are_disclosed(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = run_json(capsys, "tlog", "vkey", "--origin", ORIGIN)["vkey"]
    run(["tlog", "checkpoint", "--origin", ORIGIN, "--output", "cp"])
    assert run_json(capsys, "disclose", plans[0], "--checkpoint", "cp", "--output", "d.json") == {
        "path": "d.json",
        "seq": 0,
        "routes": 3,
    }
    signed = ("--checkpoint", "cp", "--key-hex", PUBLIC)
    opened = run_json(capsys, "verify-disclosure", "d.json", *signed, "--log", log)
    assert len(opened["routes"]) == 3
    assert "DISCLOSED: 3 routes that entry 0 committed to" in run_text(
        capsys, "verify-disclosure", "d.json", *signed, "--log", log
    )
    check_error(
        ["verify-disclosure", "d.json", *signed],
        2,
        "who must have signed the checkpoint?",
        capsys,
    )
    unsigned = ["verify-disclosure", "d.json", "--checkpoint", "cp", "--log", log]
    check_error(unsigned, 2, "who must have signed the entry?", capsys)
    other = OTHER_KEY.public_key.hex
    check_error([*unsigned, "--key-hex", other], 1, "entry 0: bad signature", capsys)
    data = json.loads((tmp_path / "d.json").read_text())
    for changes, code, message in (
        ({"nonce": "ab" * 32}, 1, "the routes and the nonce give the commitment"),
        ({"routes": data["routes"][:2]}, 1, "the routes and the nonce give the commitment"),
        ({"routes": {"0": data["routes"][0]}}, 2, "routes is not a JSON array"),
        ({"leaf_count": 3}, 1, "is for a checkpoint of 3 entries"),
        ({"leaf_index": 1}, 2, "expected the entry's seq, 0"),
        ({"path": []}, 1, "has 0 hashes; expected 1"),
        ({"path": ["x"]}, 2, "path is not a list"),
        ({"nonce": "x"}, 2, "nonce is invalid"),
        ({"entry": data["entry"] | {"event": "x"}}, 1, "the content was changed"),
        ({"more": 1}, 2, "is not a disclosure"),
    ):
        (tmp_path / "x.json").write_text(json.dumps(data | changes))
        check_error(
            ["verify-disclosure", "x.json", *signed, "--log", log],
            code,
            message,
            capsys,
        )


def test_entries_of_the_chain_are_listed(
    plans: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run_json(capsys, "entries")
    assert [(row["seq"], row["event"]) for row in rows] == [
        (0, "plan.applied"),
        (1, "plan.applied"),
    ]
    assert [row["seq"] for row in run_json(capsys, "entries", "--plan", plans[1])] == [1]
    assert run_json(capsys, "entries", "--until", "2020-01-01") == []
    assert "plan.applied" in run_text(capsys, "entries", "--after", "0")
    check_error(["entries", "--since", "soon"], 2, "--since is 'soon'", capsys)
