"""Evidence for others: anchors after each commit, proofs, checkpoints, disclosures, rotations."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

import ttplan
from tests.audit.chains import KEY, OTHER_KEY
from tests.logs.test_reader import numbered, write
from tests.paths import DATA
from ttplan.apply import StoreChain
from ttplan.audit.c2sp.note import make_vkey
from ttplan.audit.c2sp.tlog import check_log
from ttplan.audit.keys.key_files import (
    PASSPHRASE_VARIABLE,
    SigningKey,
    key_from_hex,
    load_key,
    save_key,
)
from ttplan.audit.keys.signer import SIGN_COMMAND_VARIABLE, SIGN_KEY_VARIABLE, CommandSigner
from ttplan.audit.proofs.anchors import ANCHOR_COMMAND_VARIABLE as ANCHOR_COMMAND
from ttplan.audit.proofs.anchors import ANCHOR_FILE_VARIABLE as ANCHOR_FILE
from ttplan.audit.proofs.anchors import read_anchors
from ttplan.audit.proofs.customer_checkpoint import (
    CustomerCheckpointError,
    check_customer_signature,
    parse_customer_checkpoint,
)
from ttplan.audit.proofs.disclosure import check_disclosure, format_disclosure, parse_disclosure
from ttplan.audit.proofs.inclusion import check_inclusion_proof
from ttplan.model.audit import System, TipAnchor
from ttplan.model.errors import (
    AuditError,
    InputError,
    KeyFileError,
    ProofError,
    StoreError,
    TruncatedChain,
)
from ttplan.store.memory import MemoryStore
from ttplan.workspace import Workspace

ROUTES = DATA / "routes.yaml"
THIRD = key_from_hex("33" * 32)
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGN = "import sys; from ttplan.audit.keys.key_files import key_from_hex; "
SIGN += "sys.stdout.write(key_from_hex('11' * 32).sign(sys.stdin.buffer.read()).hex())"


def command(script: str) -> list[str]:
    return [sys.executable, "-c", script]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 300 requests, and five projected plans that any key may apply."""
    folder = tmp_path_factory.mktemp("prepared")
    workspace = opened(folder)
    workspace.import_logs(
        write(folder / "log.jsonl", numbered(300, tag="chat", latency_ms=900)), progress=False
    )
    for number in range(5):
        workspace.plan(ROUTES, name=f"plan {number}")
    return folder / "s.duckdb"


@pytest.fixture(autouse=True)
def _store(prepared: Path, tmp_path: Path) -> None:
    shutil.copy(prepared, tmp_path)


def opened(folder: Path, key: SigningKey | None = KEY) -> Workspace:
    return ttplan.open(folder / "s.duckdb", key=key)


def apply(workspace: Workspace, number: int) -> TipAnchor:
    """Apply a plan of the prepared store; return the anchor after it."""
    entry = workspace.apply(f"plan {number}", actor=System(), allow_stale=True)
    return TipAnchor(entry.seq, entry.hash)


def applied(workspace: Workspace, count: int) -> list[TipAnchor]:
    """Apply the first plans; return the anchor after each."""
    return [apply(workspace, number) for number in range(count)]


@pytest.mark.slow
def test_each_commit_hands_its_anchor_on_from_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "anchors", tmp_path / "handed"
    monkeypatch.setenv(ANCHOR_FILE, str(file))
    script = f"import sys; open({str(other)!r}, 'ab').write(sys.stdin.buffer.read())"
    monkeypatch.setenv(ANCHOR_COMMAND, f'{sys.executable} -c "{script}"')
    tips = applied(opened(tmp_path), 2)
    assert [kept.anchor for kept in read_anchors(file)] == tips
    assert tips[0].seq == 0
    assert file.read_text() == other.read_text()
    assert read_anchors(file)[0].at is not None
    workspace = opened(tmp_path)
    assert workspace.verify(public_key=KEY.public_key, passes_through=tips).ok


def test_an_anchor_that_nobody_takes_undoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ANCHOR_COMMAND, f'{sys.executable} -c "import sys; sys.exit(3)"')
    with caplog.at_level(logging.WARNING, "ttplan.audit.tip"):
        (tip,) = applied(opened(tmp_path), 1)
    assert (
        f"the anchor {tip} was not delivered: the command {sys.executable} failed (exit code 3)"
        in caplog.text
    )
    assert opened(tmp_path).anchor() == tip


def test_a_tip_is_published_only_if_the_store_returns_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    chain = StoreChain(store, KEY)
    entry = chain.emit(UUID(int=1), System(), "x", {})
    with (
        caplog.at_level(logging.INFO, "ttplan.audit.tip"),
        pytest.raises(AuditError, match="returns a different one") as caught,
    ):
        chain.publish(replace(entry, event="y"))
    assert caught.value.applied
    assert caplog.text == ""


def test_anchoring_appends_changes_and_heartbeats(tmp_path: Path) -> None:
    workspace, file = opened(tmp_path), tmp_path / "anchors"
    with pytest.raises(InputError, match="the chain has no entries yet"):
        workspace.evidence.anchor(file=file)
    first, second = applied(workspace, 2)
    assert workspace.evidence.anchor(file=file) == (second, True)
    assert workspace.evidence.anchor(file=file) == (second, False)
    assert workspace.evidence.anchor(file=file, heartbeat=True) == (second, True)
    assert workspace.evidence.anchor() == (second, False)
    assert [kept.anchor for kept in read_anchors(file)] == [second, second]
    for text, reason in (
        (f"{first.seq}:{'ab' * 32}\n", "rewritten"),
        (f"{second.seq}:{'ab' * 32}\n", "tip_differs"),
        (f"9:{'ab' * 32}\n", "short"),
    ):
        file.write_text(text)
        with pytest.raises(TruncatedChain, match="has the anchor") as caught:
            workspace.evidence.anchor(file=file, heartbeat=True)
        assert caught.value.reason == reason
        assert file.read_text() == text


def test_a_proof_of_an_entry_of_the_store(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    tips = applied(workspace, 3)
    for tip in tips:
        check_inclusion_proof(workspace.evidence.prove(tip.seq), tip.hash, leaf_count=3)
    with pytest.raises(ProofError, match="no leaf 3 in a tree of 3"):
        workspace.evidence.prove(3)


def test_a_customer_signs_where_the_chain_ends(tmp_path: Path) -> None:
    workspace, output, seed = opened(tmp_path), tmp_path / "c.json", tmp_path / "seed"
    tips = applied(workspace, 2)
    seed.write_text("07" * 32)
    seed.chmod(0o600)
    made = workspace.evidence.customer_checkpoint(seed, output)
    read = parse_customer_checkpoint(output.read_bytes(), "c.json")
    assert read == made
    check_customer_signature(read, key_from_hex("07" * 32).public_key)
    assert (read.anchor, read.verifying_key) == (tips[-1], KEY.public_key.hex)
    with pytest.raises(InputError, match="exists already"):
        workspace.evidence.customer_checkpoint(seed, output)
    with pytest.raises(CustomerCheckpointError):
        check_customer_signature(read, KEY.public_key)
    seed.chmod(0o640)
    with pytest.raises(KeyFileError, match="must have mode 0600"):
        workspace.evidence.customer_checkpoint(seed, tmp_path / "other.json")


def test_a_log_signs_one_history_under_a_pseudonym(tmp_path: Path, prepared: Path) -> None:
    workspace, state = opened(tmp_path), tmp_path / "log.last"
    applied(workspace, 2)
    first = workspace.evidence.sign_tree("example.com/log1", OTHER_KEY, state)
    check_log(first, make_vkey("example.com/log1", OTHER_KEY.public_key))
    assert first.head.size == 2
    apply(workspace, 2)
    assert workspace.evidence.sign_tree("example.com/log1", OTHER_KEY, state).head.size == 3
    with pytest.raises(
        InputError, match=r"is of the log example\.com/log1, not of example.com/log2"
    ):
        workspace.evidence.sign_tree("example.com/log2", OTHER_KEY, state)
    with workspace.store.read() as snapshot:
        org = snapshot.org_id()
    assert org is not None
    for origin in (str(org), f"example.com/{org.hex.upper()}"):
        with pytest.raises(InputError, match="the origin names the organisation"):
            workspace.evidence.sign_tree(origin, OTHER_KEY, tmp_path / "other.last")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(prepared, tmp_path / "elsewhere")
    other = opened(tmp_path / "elsewhere")
    applied(other, 2)
    with pytest.raises(
        ProofError, match="the log signed 3 entries, the chain has 2; nothing was signed"
    ):
        other.evidence.sign_tree("example.com/log1", OTHER_KEY, state)
    apply(other, 2)
    with pytest.raises(ProofError, match="the first 3 entries are not those that the log signed"):
        other.evidence.sign_tree("example.com/log1", OTHER_KEY, state)


def test_one_plans_routes_are_shown_and_nothing_else(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    applied(workspace, 2)
    plans = [workspace.show(f"plan {number}") for number in range(3)]
    checkpoint = workspace.evidence.sign_tree("example.com/log1", OTHER_KEY, tmp_path / "state")
    for seq, plan in enumerate(plans[:2]):
        data = format_disclosure(workspace.evidence.disclose(plan.plan_id, checkpoint))
        read = parse_disclosure(data, "d.json")
        check_disclosure(read, checkpoint, KEY.public_key)
        assert read.entry.seq == seq
        assert [route["name"] for route in read.routes] == [
            route.name for route in plan.result.proposed_routes
        ]
        assert str(plans[1 - seq].plan_id).encode() not in data
    with pytest.raises(InputError, match="was never applied"):
        workspace.evidence.disclose(plans[2].plan_id, checkpoint)


def test_the_workspaces_own_key_rotates_in_its_file(tmp_path: Path) -> None:
    workspace = opened(tmp_path, key=None)
    applied(workspace, 1)
    file = tmp_path / "s.duckdb.key.pem"
    old = load_key(file).public_key
    with pytest.raises(InputError, match="no entries yet"):
        (tmp_path / "new").mkdir()
        opened(tmp_path / "new", key=None).evidence.rotate_key()
    entry = workspace.evidence.rotate_key(actor=System())
    assert entry is not None
    new = load_key(file).public_key
    assert entry.payload["old_key"] == old.hex
    assert entry.payload["new_key"] == new.hex
    assert load_key(tmp_path / f"s.duckdb.key.pem.{old.hex[:8]}.old").public_key == old
    assert not (tmp_path / "s.duckdb.key.pem.next").exists()
    apply(workspace, 2)
    report = opened(tmp_path, key=None).verify(public_key=old)
    assert (report.verdict, report.entries, [span.key for span in report.rotations]) == (
        "verified",
        3,
        [new.hex],
    )
    assert (workspace.public_key, workspace.current_public_key) == (old.hex, new.hex)
    # Its own verdicts begin with the first key, too, and so does what it exports.
    assert workspace.verify().entries == 3
    assert workspace.drift().ok
    assert next(check for check in workspace.health().result.checks if check.name == "key").ok
    assert workspace.repair() is None
    workspace.export_chain(tmp_path / "chain.jsonl")
    assert ttplan.verify_file(tmp_path / "chain.jsonl").entries == 3
    assert ttplan.verify_file(tmp_path / "chain.jsonl", public_key=old).ok
    check_inclusion_proof(workspace.evidence.prove(1), entry.hash)


def test_an_interrupted_rotation_continues_with_the_same_key(tmp_path: Path) -> None:
    workspace = opened(tmp_path, key=None)
    applied(workspace, 1)
    file, following = tmp_path / "s.duckdb.key.pem", tmp_path / "s.duckdb.key.pem.next"
    old = load_key(file)
    # Broken off before the entry: the key that was made is used.
    save_key(OTHER_KEY, following)
    entry = workspace.evidence.rotate_key()
    assert entry is not None
    assert entry.payload["new_key"] == OTHER_KEY.public_key.hex
    # Broken off after the entry: put the files back as they were then.
    os.replace(file, following)
    save_key(old, file)
    reopened = opened(tmp_path, key=None)
    with pytest.raises(AuditError, match="and does not hand over to it"):
        apply(reopened, 2)
    assert reopened.evidence.rotate_key() is None
    assert load_key(file).public_key == OTHER_KEY.public_key
    apply(reopened, 2)
    assert reopened.verify(public_key=old.public_key).entries == 3


def test_two_processes_can_finish_the_same_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(tmp_path, key=None)
    applied(workspace, 1)
    replace = os.replace

    def beaten(source: Path, target: Path) -> None:
        replace(source, target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("ttplan.operations.keyring.os.replace", beaten)
        entry = workspace.evidence.rotate_key()
    assert entry is not None
    assert load_key(tmp_path / "s.duckdb.key.pem").public_key.hex == entry.payload["new_key"]
    apply(workspace, 2)
    # The other process may have finished even before this one looked.
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.operations.keyring.Keyring.take_next", lambda _: False)
        entry = workspace.evidence.rotate_key()
    assert entry is not None
    apply(workspace, 3)


def test_a_rotation_whose_key_cannot_be_moved_finishes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(tmp_path, key=None)
    applied(workspace, 1)
    answers = iter([False])

    def lost(_keys: object) -> bool:
        for answer in answers:
            return answer
        raise StoreError("the server is away, and nothing was written")

    with monkeypatch.context() as patch:
        patch.setattr("ttplan.operations.keyring.Keyring.take_next", lost)
        with pytest.raises(
            AuditError, match=r"entry 1 was committed and hands the chain over.*Rotate again"
        ) as caught:
            workspace.evidence.rotate_key()
    assert caught.value.applied
    reopened = opened(tmp_path, key=None)
    assert reopened.evidence.rotate_key() is None
    apply(reopened, 2)


def test_a_key_from_elsewhere_rotates_to_one_from_elsewhere(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    applied(workspace, 1)
    with pytest.raises(KeyFileError, match="this workspace's key is not in a file"):
        workspace.evidence.rotate_key()
    with pytest.raises(KeyFileError, match="is, or was, a key of this chain"):
        workspace.evidence.rotate_key(KEY)
    assert workspace.evidence.rotate_key(OTHER_KEY) is not None
    apply(workspace, 2)
    with pytest.raises(KeyFileError, match="is, or was, a key of this chain"):
        workspace.evidence.rotate_key(KEY)
    assert workspace.verify(public_key=KEY.public_key).ok
    # The old key no longer signs entries.
    old = opened(tmp_path)
    with pytest.raises(AuditError, match="was not signed with this key"):
        apply(old, 3)
    assert opened(tmp_path, THIRD).anchor() == workspace.anchor()


def test_a_command_signs_and_what_it_gives_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = CommandSigner(command(SIGN), KEY.public_key)
    workspace = ttplan.open(tmp_path / "s.duckdb", key=signer)
    applied(workspace, 1)
    assert workspace.verify(public_key=KEY.public_key).ok
    raw = "import sys; sys.stdout.buffer.write(bytes(64))"
    for script, message in (
        (raw, "returned a signature that does not verify"),
        ("print('no')", r"wrote 3 bytes; expected 64, or 128 hex digits"),
        (
            "import sys; sys.exit('no token in the reader')",
            r"failed \(exit code 1\): no token in the reader",
        ),
    ):
        wrong = ttplan.open(
            tmp_path / "s.duckdb", key=CommandSigner(command(script), KEY.public_key)
        )
        with pytest.raises(AuditError, match=message):
            apply(wrong, 2)
    assert workspace.verify(public_key=KEY.public_key).entries == 1
    monkeypatch.setenv(SIGN_COMMAND_VARIABLE, f'{sys.executable} -c "{SIGN}"')
    with pytest.raises(KeyFileError, match=f"{SIGN_KEY_VARIABLE} is not"):
        opened(tmp_path, key=None)
    monkeypatch.setenv(SIGN_KEY_VARIABLE, KEY.public_key.hex)
    from_env = opened(tmp_path, key=None)
    apply(from_env, 2)
    assert from_env.verify(public_key=KEY.public_key).entries == 2
    assert KEY.public_key.hex in repr(signer)
    assert SIGN not in repr(signer)


def test_key_files_are_kept_under_a_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    workspace = opened(tmp_path, key=None)
    applied(workspace, 1)
    file = tmp_path / "s.duckdb.key.pem"
    assert b"ENCRYPTED" in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert workspace.evidence.rotate_key() is not None
    assert b"ENCRYPTED" in file.read_bytes()
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    with pytest.raises(KeyFileError, match="needs a passphrase"):
        apply(opened(tmp_path, key=None), 2)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "")
    with pytest.raises(KeyFileError, match="is set but empty"):
        opened(tmp_path, key=None)
