"""The commands that make and check evidence, as a person types them, and by an auditor from exported files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.audit.c2sp.witness_server import NAME, VKEY, serving
from tests.audit.chains import KEY, OTHER_KEY, chain, entry, exported
from tests.cli.test_cli import fails
from tests.logs.test_reader import numbered, write
from tests.paths import DATA
from ttplan.audit.c2sp.note import parse_vkey
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE, save_key
from ttplan.cli.entrypoint import run
from ttplan.model.audit import TipAnchor

ROUTES = str(DATA / "routes.yaml")
PUBLIC = KEY.public_key.hex
ORIGIN = "example.com/log1"


@pytest.fixture
def plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """A store with two applied plans, their ids; the working directory is an empty one."""
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    monkeypatch.chdir(tmp_path)
    assert (
        run(
            [
                "import",
                str(write(tmp_path / "log.jsonl", numbered(300, tag="chat", latency_ms=900))),
            ]
        )
        == 0
    )
    found = []
    for name in ("one", "two"):
        found.append(told(capsys, "plan", ROUTES, "--name", name)["plan_id"])
        assert run(["apply", found[-1], "--yes", "--allow-stale", "--user", str(UUID(int=7))]) == 0
    capsys.readouterr()
    return found


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command says as JSON, which is all that it prints."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run(list(arguments)) == code
    return capsys.readouterr().out


def test_anchors_are_printed_kept_and_verified_against(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tip = said(capsys, "anchor").strip()
    assert told(capsys, "anchor", "--append", "anchors") == {
        "anchor": tip,
        "seq": 1,
        "hash": tip.split(":")[1],
        "appended": True,
    }
    assert told(capsys, "anchor", "--append", "anchors", "--heartbeat")["appended"] is True
    assert len((tmp_path / "anchors").read_text().splitlines()) == 2
    script = "import sys; open('handed', 'wb').write(sys.stdin.buffer.read())"
    assert run(["anchor", "--command", f'{sys.executable} -c "{script}"']) == 0
    assert (tmp_path / "handed").read_text().startswith(tip + " ")
    assert run(["export", "chain.jsonl"]) == 0
    for source in ("s.duckdb", "chain.jsonl"):
        assert "earlier anchors" in said(
            capsys, "verify", source, "--key-hex", PUBLIC, "--anchors", "anchors"
        )
        assert run(["verify", source, "--key-hex", PUBLIC, "--through", tip, "--anchor", tip]) == 0
        report = told(
            capsys, "verify", source, "--key-hex", PUBLIC, "--through", "0:" + "ab" * 32, code=1
        )
        assert report["first_bad"]["reason"] == "rewritten"
        assert run(["verify", source, "--key-hex", PUBLIC, "--distrust-after", tip]) == 0
    fails(["anchor", "--heartbeat"], 2, "--heartbeat is for a file", capsys)
    (tmp_path / "anchors").write_text("7:" + "ab" * 32 + "\n")
    fails(
        ["anchor", "--append", "anchors"], 1, "the chain does not end at its anchor (short)", capsys
    )


def test_a_chain_is_exported_up_to_an_entry_and_with_its_verifier(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, "export", "chain.jsonl", "--with-verifier")["verifier"] == "verify_chain.py"
    command = [sys.executable, "-I", "verify_chain.py", "chain.jsonl", PUBLIC]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("VERIFIED: 2 entries")
    assert "its verifier: python verify_chain.py" in said(
        capsys, "export", "again.jsonl", "--with-verifier"
    )
    assert told(capsys, "export", "first.jsonl", "--until", "0")["entries"] == 1
    assert run(["verify", "first.jsonl", "--key-hex", PUBLIC]) == 0
    fails(
        ["export", "none.jsonl", "--until", "2"],
        2,
        "the chain has no entry 2; it has 2, counted from 0",
        capsys,
    )
    assert not (tmp_path / "none.jsonl").exists()
    (tmp_path / "verify_chain.py").write_text("print('VERIFIED')")
    fails(["export", "third.jsonl", "--with-verifier"], 2, "verify_chain.py exists already", capsys)


def test_an_entry_is_proved_in_the_ecosystems_form(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = told(capsys, "prove", "0", "--output", "p.json")["root"]
    run(["export", "chain.jsonl"])
    first = json.loads((tmp_path / "chain.jsonl").read_text().splitlines()[1])["hash"]
    assert "CONSISTENT WITH ITSELF" in said(
        capsys, "verify-proof", "p.json", "--hash", first, code=4
    )
    assert "PROVED" in said(capsys, "verify-proof", "p.json", "--hash", first, "--root", root)
    assert (
        told(capsys, "verify-proof", "p.json", "--chain", "chain.jsonl", "--key-hex", PUBLIC)[
            "vouched"
        ]
        is True
    )
    assert (
        told(
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
    fails(["verify-proof", "p.json", "--hash", "ab" * 32], 1, "the proof speaks of", capsys)
    fails(
        ["verify-proof", "p.json", "--hash", first, "--root", "ab" * 32], 1, "expected abab", capsys
    )
    fails(["verify-proof", "p.json"], 2, "of which entry?", capsys)
    fails(["verify-proof", "p.json", "--hash", "x"], 2, "expected 64 lower-case hex digits", capsys)
    fails(
        ["verify-proof", "p.json", "--hash", first, "--log", "x"],
        2,
        "is a JSON proof, which nobody signs",
        capsys,
    )
    fails(["prove", "2", "--output", "r.json"], 1, "there is no leaf 2 in a tree of 2", capsys)
    fails(["prove", "0", "--output", "p.json"], 2, "exists already", capsys)
    run(["export", "short.jsonl", "--until", "0"])
    fails(
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
    made = told(capsys, "checkpoint", "create", "--seed-file", "seed", "--output", "c.json")
    run(["export", "chain.jsonl"])
    customer = OTHER_KEY.public_key.hex
    assert "SIGNED BY THE CUSTOMER (form 1)" in said(
        capsys, "checkpoint", "verify", "c.json", "--customer-key", customer
    )
    both = said(
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
    run(["export", "short.jsonl", "--until", "0"])
    arguments = (
        "checkpoint",
        "verify",
        "c.json",
        "--customer-key",
        customer,
        "--chain",
        "short.jsonl",
    )
    report = told(capsys, *arguments, code=1)
    assert (report["anchor"], report["chain"]["first_bad"]["reason"]) == (made["anchor"], "short")
    fails(["checkpoint", "verify", "c.json", "--customer-key", PUBLIC], 1, "bad signature", capsys)
    fails(
        ["checkpoint", "create", "--seed-file", "seed", "--output", "c.json"],
        2,
        "exists already",
        capsys,
    )
    seed.chmod(0o644)
    fails(
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
    fails(list(arguments), 1, "the chain of 00000000-0000-0000-0000-000000000001", capsys)


def test_the_chain_is_a_log_that_a_witness_cosigns_with_and_without_a_network(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = told(capsys, "tlog", "vkey", "--origin", ORIGIN)["vkey"]
    assert said(capsys, "tlog", "vkey", "--origin", ORIGIN).strip() == log
    assert told(capsys, "tlog", "checkpoint", "--origin", ORIGIN, "--output", "cp")["size"] == 2
    run(["export", "chain.jsonl"])
    with serving(parse_vkey(log)) as server:
        by_http = said(capsys, "tlog", "submit", "cp", server.url, "--witness", str(VKEY))
        assert by_http.startswith(f"cosigned by {NAME} at 2026-05-01 12:00:00Z")
        more = ("--chain", "chain.jsonl", "--key-hex", PUBLIC)
        assert (
            told(capsys, "tlog", "submit", "cp", server.url, "--witness", str(VKEY), *more)[0][
                "witness"
            ]
            == NAME
        )
        fails(
            ["tlog", "submit", "cp", server.url + "x", "--witness", str(VKEY)],
            1,
            "(HTTP 404)",
            capsys,
        )
    assert told(capsys, "tlog", "request", "cp", "--output", "ask")["old_size"] == 0
    keeps = ("--log", log, "--name", "w2.example", "--witness-key", "w2.pem", "--state", "w2.state")
    second = told(capsys, "tlog", "cosign", "ask", *keeps, "--output", "answer")["vkey"]
    assert "cosigned by w2.example" in said(
        capsys, "tlog", "add", "cp", "answer", "--witness", second
    )
    fails(
        ["tlog", "cosign", "ask", *keeps, "--output", "again"], 1, "this witness has seen 2", capsys
    )
    assert not (tmp_path / "again").exists()
    policy = (
        f"log {log}\nwitness w1 {VKEY}\nwitness w2 {second}\ngroup both all w1 w2\nquorum both\n"
    )
    (tmp_path / "policy").write_text(policy)
    sealed = said(
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
    run(["export", "short.jsonl", "--until", "0"])
    arguments = ["verify", "short.jsonl", "--key-hex", PUBLIC, "--checkpoint", "cp"]
    fails([*arguments, "--log", log], 1, "the checkpoint is of 2 entries, the chain has 1", capsys)
    fails(arguments, 2, "Give a policy (--policy) or the log's verifier key (--log)", capsys)
    fails(["verify", "chain.jsonl", "--policy", "policy"], 2, "are for a checkpoint", capsys)
    (tmp_path / "policy").write_text(f"log {log}\nwitness w1 {VKEY!s}\nquorum w3\n")
    fails(
        [*arguments, "--policy", "policy"],
        2,
        "policy, line 3: the name 'w3' is not defined",
        capsys,
    )


def test_a_tlog_proof_stands_by_itself(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = told(capsys, "tlog", "vkey", "--origin", ORIGIN)["vkey"]
    run(["tlog", "checkpoint", "--origin", ORIGIN, "--output", "cp"])
    assert (
        told(capsys, "prove", "1", "--checkpoint", "cp", "--output", "p.tlog-proof")["format"]
        == "tlog-proof"
    )
    run(["export", "chain.jsonl"])
    last = json.loads((tmp_path / "chain.jsonl").read_text().splitlines()[2])["hash"]
    assert (
        "PROVED: the entry is number 1 in the checkpoint of 2 entries, signed by the log"
        in said(capsys, "verify-proof", "p.tlog-proof", "--hash", last, "--log", log)
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
    fails(
        ["verify-proof", "p.tlog-proof", "--hash", last],
        2,
        "who has to have signed the checkpoint?",
        capsys,
    )
    fails(
        ["verify-proof", "p.tlog-proof", "--hash", "ab" * 32, "--log", log],
        1,
        "do not give the checkpoint's root",
        capsys,
    )
    fails(
        ["verify-proof", "p.tlog-proof", "--hash", last, "--log", str(VKEY)],
        1,
        "expected witness.example/w1",
        capsys,
    )


def test_a_plans_routes_are_disclosed(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = told(capsys, "tlog", "vkey", "--origin", ORIGIN)["vkey"]
    run(["tlog", "checkpoint", "--origin", ORIGIN, "--output", "cp"])
    assert told(capsys, "disclose", plans[0], "--checkpoint", "cp", "--output", "d.json") == {
        "path": "d.json",
        "seq": 0,
        "routes": 3,
    }
    opened = told(capsys, "verify-disclosure", "d.json", "--checkpoint", "cp", "--log", log)
    assert len(opened["routes"]) == 3
    assert "DISCLOSED: 3 routes that entry 0 committed to" in said(
        capsys, "verify-disclosure", "d.json", "--checkpoint", "cp", "--log", log
    )
    fails(
        ["verify-disclosure", "d.json", "--checkpoint", "cp"],
        2,
        "who has to have signed the checkpoint?",
        capsys,
    )
    data = json.loads((tmp_path / "d.json").read_text())
    for changes, code, message in (
        ({"nonce": "ab" * 32}, 1, "the routes and the nonce give the commitment"),
        ({"routes": data["routes"][:2]}, 1, "the routes and the nonce give the commitment"),
        ({"routes": {"0": data["routes"][0]}}, 2, "routes is no JSON array"),
        ({"leaf_count": 3}, 1, "is for a checkpoint of 3 entries"),
        ({"leaf_index": 1}, 2, "expected the entry's seq, 0"),
        ({"path": []}, 1, "has 0 hashes; expected 1"),
        ({"path": ["x"]}, 2, "path is no list"),
        ({"nonce": "x"}, 2, "nonce is no nonce"),
        ({"entry": data["entry"] | {"event": "x"}}, 1, "the content was changed"),
        ({"more": 1}, 2, "is no disclosure"),
    ):
        (tmp_path / "x.json").write_text(json.dumps(data | changes))
        fails(
            ["verify-disclosure", "x.json", "--checkpoint", "cp", "--log", log],
            code,
            message,
            capsys,
        )


def test_keys_are_shown_and_rotated(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "key", "show").strip() == PUBLIC
    save_key(KEY, tmp_path / "old.pem")
    made = told(capsys, "keygen", "new.pem")["public_key"]
    assert told(capsys, "key", "show", "--key-file", "new.pem")["public_key"] == made
    fails(["key", "rotate"], 2, "say which key to rotate to (--new-key-file)", capsys)
    rotated = said(
        capsys, "key", "rotate", "--key-file", "old.pem", "--new-key-file", "new.pem", "--system"
    )
    assert "entry 2 hands the chain over" in rotated
    assert f"public key from now on: {made}" in rotated
    anchor = rotated.split("its anchor is ")[1].split("\n")[0]
    fails(["revert", plans[1], "--yes"], 3, "was not signed with this key", capsys)
    assert run(["revert", plans[1], "--yes", "--key-file", "new.pem"]) == 0
    report = told(capsys, "verify", "s.duckdb", "--key-hex", PUBLIC, "--distrust-after", anchor)
    assert [span["key"] for span in report["rotations"]] == [made]
    assert told(capsys, "verify", "s.duckdb", "--key-hex", made, code=1)["first_bad"]["index"] == 0
    again = told(capsys, "key", "rotate", "--key-file", "new.pem")
    assert again["entry"]["payload"]["old_key"] == made
    assert told(capsys, "key", "show", "--key-file", "new.pem")["public_key"] == again["public_key"]


def test_two_histories_are_found_and_kept_as_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = chain(4)
    fork = [*entries[:3], entry(TipAnchor(2, entries[2].hash), payload={"other": True})]
    for name, found in (
        ("a.jsonl", entries),
        ("b.jsonl", fork),
        ("c.jsonl", entries[:2]),
        ("d.jsonl", [*entries, fork[3]]),
    ):
        (tmp_path / name).write_bytes(exported(found))
    assert "no two signed entries" in said(
        capsys, "compare", "a.jsonl", "c.jsonl", "--key-hex", PUBLIC
    )
    assert told(capsys, "compare", "a.jsonl", "c.jsonl", "--key-hex", PUBLIC) is None
    found = told(
        capsys, "compare", "a.jsonl", "b.jsonl", "--key-hex", PUBLIC, "--evidence", "e.json", code=1
    )
    assert found["seq"] == 3
    assert "signed two histories" in said(
        capsys, "compare", "e.json", "--check", "--key-hex", PUBLIC, code=1
    )
    assert run(["verify", "d.jsonl", "--key-hex", PUBLIC, "--evidence", "f.json"]) == 1
    assert (tmp_path / "f.json").read_bytes() == (tmp_path / "e.json").read_bytes()
    fails(
        ["compare", "e.json", "--check", "--key-hex", OTHER_KEY.public_key.hex],
        1,
        "is about the key",
        capsys,
    )
    fails(["compare", "a.jsonl", "--key-hex", PUBLIC], 2, "compare takes two chains", capsys)
    fails(["compare", "a.jsonl", "b.jsonl"], 2, "compare takes two chains", capsys)


def test_a_chain_is_verified_from_an_anchor_on_with_a_page_for_the_file(
    plans: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["export", "chain.jsonl"])
    tip = told(capsys, "anchor")["anchor"]
    first = "0:" + json.loads((tmp_path / "chain.jsonl").read_text().split("\n")[1])["hash"]
    for source in ("s.duckdb", "chain.jsonl"):
        report = told(capsys, "verify", source, "--key-hex", PUBLIC, "--since", first)
        assert (report["verdict"], report["entries"], report["since"]["seq"]) == ("verified", 1, 0)
        assert said(capsys, "verify", source, "--since", first, code=4).startswith(
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
        fails(
            ["verify", source, "--key-hex", PUBLIC, "--html", f"{source}.html"],
            2,
            "exists already",
            capsys,
        )
        assert told(
            capsys, "verify", source, "--key-hex", PUBLIC, "--since", "0:" + "ab" * 32, code=1
        )["first_bad"]["reason"]
    fails(
        ["verify", "chain.jsonl", "--key-hex", PUBLIC, "--since", tip, "--through", first],
        2,
        "is before 1:",
        capsys,
    )
    fails(
        ["verify", "chain.jsonl", "--since", first, "--checkpoint", "cp"],
        2,
        "a checkpoint is of the whole chain",
        capsys,
    )
    fails(["verify", "chain.jsonl", "--since", "7"], 2, "is not an anchor", capsys)
