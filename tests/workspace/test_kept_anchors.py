"""Nothing is appended to a chain that lacks the anchors that were kept of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import pytest

import ttplan
from tests.audit.chains import KEY
from tests.cli.support import check_error
from tests.store.conftest import new_duckdb_store
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PlanDriver, store_state
from ttplan.audit.keys.key_files import create_key
from ttplan.audit.proofs.anchors import (
    ANCHOR_FILE_VARIABLE,
    append_anchor,
    last_anchors,
    read_anchors,
)
from ttplan.cli.entrypoint import run
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import AuditError, InputError, TruncatedChain
from ttplan.workspace import Workspace


@pytest.fixture
def anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "anchors"
    monkeypatch.setenv(ANCHOR_FILE_VARIABLE, str(path))
    return path


@pytest.fixture
def path(tmp_path: Path, anchors: Path) -> Path:
    """A store whose third entry is in its anchors, and which was then rolled back to its second."""
    store = new_duckdb_store(tmp_path)
    driver = PlanDriver(store)
    for number in range(1, 6):
        driver.project(number, plans.route(number))
    opened(store.path).apply(UUID(int=1), allow_stale=True)
    opened(store.path).apply(UUID(int=2), allow_stale=True)
    shutil.copy(store.path, tmp_path / "earlier")
    opened(store.path).apply(UUID(int=3), allow_stale=True)
    shutil.copy(tmp_path / "earlier", store.path)
    return store.path


def opened(path: Path) -> Workspace:
    return ttplan.open(path, key=KEY, clock=lambda: AT)


def test_a_store_behind_its_anchor_refuses_to_write(path: Path, anchors: Path) -> None:
    ws, before = opened(path), anchors.read_text()
    state = store_state(ws.store)
    lost = read_anchors(anchors)[-1].anchor
    with pytest.raises(AuditError, match=f"has the anchor {lost}; .* no entry 2") as error:
        ws.apply(UUID(int=4), allow_stale=True)
    assert "rolled back or rewritten" in str(error.value)
    assert not error.value.applied
    with pytest.raises(AuditError, match="nothing was written"):
        ws.evidence.rotate_key(create_key())
    assert store_state(ws.store) == state
    assert anchors.read_text() == before


def test_another_entry_at_an_anchors_place_is_refused(path: Path, anchors: Path) -> None:
    entry = ttplan.open(path, key=KEY).anchor()
    assert entry is not None
    append_anchor(anchors, TipAnchor(entry.seq, "ab" * 32), AT)
    append_anchor(anchors, entry, AT)  # the last line alone looks good
    ws = opened(path)
    with pytest.raises(AuditError, match=r"abab; the chain has 1:|the chain has no entry 2"):
        ws.apply(UUID(int=4), allow_stale=True)
    with pytest.raises(TruncatedChain, match="has the anchor"):
        ws.evidence.anchor(file=anchors)


def test_a_chain_with_its_anchors_goes_on(tmp_path: Path, anchors: Path) -> None:
    driver = PlanDriver(new_duckdb_store(tmp_path))
    for number in (1, 2):
        driver.project(number, plans.route(number))
        opened(tmp_path / "store.duckdb").apply(UUID(int=number), allow_stale=True)
    assert [line.anchor.seq for line in read_anchors(anchors)] == [0, 1]
    anchors.write_text("nonsense\n")
    driver.project(3, plans.route(3))
    with pytest.raises(AuditError, match="anchors cannot be compared, so nothing was written"):
        opened(tmp_path / "store.duckdb").apply(UUID(int=3), allow_stale=True)


def test_the_last_anchors_of_a_long_file(tmp_path: Path) -> None:
    file = tmp_path / "long"
    every = [TipAnchor(seq, f"{seq:064x}") for seq in range(1_500)]
    file.write_text("".join(f"{anchor} 2026-05-01T12:00:00Z\n" for anchor in every))
    assert last_anchors(file) == every[-20:]
    append_anchor(file, every[-3], AT)
    assert last_anchors(file)[-1] == every[-3]
    with pytest.raises(InputError, match="cannot be read: No such file"):
        last_anchors(tmp_path / "none")


def test_health_drift_and_verify_compare_anchors(
    path: Path, anchors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--anchors", str(anchors), "--key-hex", KEY.public_key.hex]
    for command in (["verify", str(path)], ["drift", "--store", str(path)]):
        assert run([*command, *options]) == 1
        assert "does not end at its anchor (short)" in capsys.readouterr().out.replace("\n", " ")
    ws = opened(path)
    kept = [line.anchor for line in read_anchors(anchors)]
    assert not ws.health(passes_through=kept).result.ok
    assert ws.health(passes_through=kept[:2]).result.checks[2].ok
    assert ws.drift(passes_through=kept[:2]).result.ok


def test_health_drift_and_verify_compare_the_organisation(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ws, other = opened(path), UUID(int=99)
    assert ws.verify(public_key=KEY.public_key, org_id=ORG).ok
    report = ws.verify(public_key=KEY.public_key, org_id=str(other))
    assert report.first_bad is not None
    assert (report.exit_code, report.first_bad.error) == (1, "ForeignOrg")
    assert ws.drift(org_id=ORG).result.ok
    assert not ws.drift(org_id=other).result.ok
    assert not ws.health(org_id=other).result.checks[2].ok
    command = ["verify", str(path), "--key-hex", KEY.public_key.hex, "--org", "x"]
    check_error(command, 2, "expected the organisation's UUID", capsys)
