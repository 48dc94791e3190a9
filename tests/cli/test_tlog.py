"""The chain as a transparency log, and signing keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.audit.c2sp.witness_server import NAME, VKEY, serve_witness
from tests.audit.chains import KEY
from tests.cli.support import check_error, run_json, run_text
from ttplan.audit.c2sp.note import parse_vkey
from ttplan.audit.keys.key_files import save_key
from ttplan.cli.entrypoint import run

PUBLIC = KEY.public_key.hex
ORIGIN = "example.com/log1"


def test_a_witness_cosigns_over_http_and_offline(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = run_json(capsys, "tlog", "vkey", "--origin", ORIGIN)["vkey"]
    assert run_text(capsys, "tlog", "vkey", "--origin", ORIGIN).strip() == log
    assert run_json(capsys, "tlog", "checkpoint", "--origin", ORIGIN, "--output", "cp")["size"] == 2
    run(["export-chain", "chain.jsonl"])
    with serve_witness(parse_vkey(log)) as server:
        by_http = run_text(capsys, "tlog", "submit", "cp", server.url, "--witness", str(VKEY))
        assert by_http.startswith(f"cosigned by {NAME} at 2026-05-01 12:00:00Z")
        more = ("--chain", "chain.jsonl", "--key-hex", PUBLIC)
        assert (
            run_json(capsys, "tlog", "submit", "cp", server.url, "--witness", str(VKEY), *more)[0][
                "witness"
            ]
            == NAME
        )
        check_error(
            ["tlog", "submit", "cp", server.url + "x", "--witness", str(VKEY)],
            1,
            "(HTTP 404)",
            capsys,
        )
    assert run_json(capsys, "tlog", "request", "cp", "--output", "ask")["old_size"] == 0
    keeps = ("--log", log, "--name", "w2.example", "--witness-key", "w2.pem", "--state", "w2.state")
    second = run_json(capsys, "tlog", "cosign", "ask", *keeps, "--output", "answer")["vkey"]
    assert "cosigned by w2.example" in run_text(
        capsys, "tlog", "add", "cp", "answer", "--witness", second
    )
    check_error(
        ["tlog", "cosign", "ask", *keeps, "--output", "again"], 1, "this witness has seen 2", capsys
    )
    assert not (tmp_path / "again").exists()
    policy = (
        f"log {log}\nwitness w1 {VKEY}\nwitness w2 {second}\ngroup both all w1 w2\nquorum both\n"
    )
    (tmp_path / "policy").write_text(policy)
    sealed = run_text(
        capsys,
        "verify",
        "chain.jsonl",
        "--key-hex",
        PUBLIC,
        "--checkpoint",
        "cp",
        "--policy",
        "policy",
    )
    assert f"cosigned by {NAME}, w2.example" in " ".join(sealed.split())
    assert run(["verify", "s.duckdb", "--key-hex", PUBLIC, "--checkpoint", "cp", "--log", log]) == 0
    assert run(["verify", "s.duckdb", "--checkpoint", "cp", "--log", log]) == 4
    run(["export-chain", "short.jsonl", "--until", "0"])
    arguments = ["verify", "short.jsonl", "--key-hex", PUBLIC, "--checkpoint", "cp"]
    check_error(
        [*arguments, "--log", log], 1, "the checkpoint is of 2 entries, the chain has 1", capsys
    )
    check_error(arguments, 2, "Give a policy (--policy) or the log's verifier key (--log)", capsys)
    check_error(["verify", "chain.jsonl", "--policy", "policy"], 2, "are for a checkpoint", capsys)
    (tmp_path / "policy").write_text(f"log {log}\nwitness w1 {VKEY!s}\nquorum w3\n")
    check_error(
        [*arguments, "--policy", "policy"],
        2,
        "policy, line 3: the name 'w3' is not defined",
        capsys,
    )


def test_a_tlog_proof_is_self_contained(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = run_json(capsys, "tlog", "vkey", "--origin", ORIGIN)["vkey"]
    run(["tlog", "checkpoint", "--origin", ORIGIN, "--output", "cp"])
    assert (
        run_json(capsys, "prove", "1", "--checkpoint", "cp", "--output", "p.tlog-proof")["format"]
        == "tlog-proof"
    )
    run(["export-chain", "chain.jsonl"])
    last = json.loads((tmp_path / "chain.jsonl").read_text().splitlines()[2])["hash"]
    assert (
        "PROVED: the entry is number 1 in the checkpoint of 2 entries, signed by the log"
        in run_text(capsys, "verify-proof", "p.tlog-proof", "--hash", last, "--log", log)
    )
    assert (
        run(
            [
                "verify-proof",
                "p.tlog-proof",
                "--chain",
                "chain.jsonl",
                "--key-hex",
                PUBLIC,
                "--log",
                log,
            ]
        )
        == 0
    )
    check_error(
        ["verify-proof", "p.tlog-proof", "--hash", last],
        2,
        "who must have signed the checkpoint?",
        capsys,
    )
    check_error(
        ["verify-proof", "p.tlog-proof", "--hash", "ab" * 32, "--log", log],
        1,
        "do not give the checkpoint's root",
        capsys,
    )
    check_error(
        ["verify-proof", "p.tlog-proof", "--hash", last, "--log", str(VKEY)],
        1,
        "expected witness.example/w1",
        capsys,
    )


def test_keys_are_shown_and_rotated(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_text(capsys, "key", "show").strip() == PUBLIC
    save_key(KEY, tmp_path / "old.pem")
    made = run_json(capsys, "key", "generate", "new.pem")["public_key"]
    assert run_json(capsys, "key", "show", "--key-file", "new.pem")["public_key"] == made
    check_error(["key", "rotate"], 2, "say which key to rotate to (--new-key-file)", capsys)
    rotated = run_text(
        capsys, "key", "rotate", "--key-file", "old.pem", "--new-key-file", "new.pem", "--system"
    )
    assert "entry 2 rotates the key" in rotated
    assert f"public key from now on: {made}" in rotated
    anchor = rotated.split("its anchor is ")[1].split("\n")[0]
    check_error(["revert", plans[1], "--yes"], 3, "was not signed with this key", capsys)
    assert run(["revert", plans[1], "--yes", "--key-file", "new.pem"]) == 0
    report = run_json(capsys, "verify", "s.duckdb", "--key-hex", PUBLIC, "--distrust-after", anchor)
    assert [span["key"] for span in report["rotations"]] == [made]
    assert (
        run_json(capsys, "verify", "s.duckdb", "--key-hex", made, code=1)["first_bad"]["index"] == 0
    )
    second = run_json(capsys, "key", "rotate", "--key-file", "new.pem")
    assert second["entry"]["payload"]["old_key"] == made
    assert (
        run_json(capsys, "key", "show", "--key-file", "new.pem")["public_key"]
        == second["public_key"]
    )
