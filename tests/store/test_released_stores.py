"""A store made by version 0.1.0 opens, verifies, and gives byte-identical exports."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import ttplan
from tests.paths import ROOT
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.workspace import Workspace

RELEASED = ROOT / "tests" / "data" / "stores" / "0.1.0"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace on a copy of the store, with the key that its chain was rotated to."""
    path = tmp_path / "plans.duckdb"
    path.write_bytes(gzip.decompress((RELEASED / "plans.duckdb.gz").read_bytes()))
    return ttplan.open(path, key=key_from_hex("22" * 32))


def test_the_exported_chain_is_byte_identical(ws: Workspace, tmp_path: Path) -> None:
    ws.export_chain(tmp_path / "chain.jsonl")
    assert (tmp_path / "chain.jsonl").read_bytes() == (RELEASED / "chain.jsonl").read_bytes()


def test_the_chain_verifies_with_the_first_key(ws: Workspace) -> None:
    report = ws.verify(public_key=key_from_hex("11" * 32).public_key)
    assert report.verdict == "verified"


def test_each_result_is_byte_identical(ws: Workspace) -> None:
    with ws.store.read() as snapshot:
        org_id = snapshot.org_id()
        assert org_id is not None
        results = {run.result.model_dump_json() + "\n" for run in snapshot.plans(org_id)}
    assert results == {path.read_text() for path in RELEASED.glob("result-*.json")}


def test_the_reconciliation_is_byte_identical(ws: Workspace) -> None:
    with ws.store.read() as snapshot:
        org_id = snapshot.org_id()
        assert org_id is not None
        (reconciliation,) = snapshot.reconciliations(org_id)
    assert reconciliation.model_dump_json() + "\n" == (RELEASED / "reconciliation.json").read_text()


def test_the_live_routes_are_byte_identical(ws: Workspace) -> None:
    assert ws.routes().to_yaml() == (RELEASED / "routes-live.yaml").read_text()
