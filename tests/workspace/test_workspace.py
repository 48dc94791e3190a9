"""The workspace: the whole story, and errors."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY, OTHER_KEY
from tests.logs.test_reader import numbered, write
from tests.paths import DATA
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE, load_key
from ttplan.engine.replay import replay_table
from ttplan.gateways.plan_file import read_plan_file
from ttplan.model.errors import InputError, InvalidState, KeyFileError, PlanNotFound, StoreError
from ttplan.model.plan import PlanConfig
from ttplan.workspace import Workspace

ROUTES = DATA / "routes.yaml"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def opened(path: Path, **options: object) -> Workspace:
    """A workspace with a fixed key, clock, ids and nonce."""
    ids = iter(UUID(int=n) for n in range(10**6, 10**7))
    fixed: dict[str, object] = {
        "key": KEY,
        "clock": lambda: NOW,
        "new_id": lambda: next(ids),
        "new_nonce": lambda: "07" * 32,
    }
    return ttplan.open(path, **(fixed | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sample_content(sample_store: Path) -> str:
    """The content of the store with the sample log."""
    return content(sample_store)


@pytest.fixture
def workspace(tmp_path: Path, sample_store: Path) -> Workspace:
    """A workspace with the sample log."""
    return opened(Path(shutil.copy(sample_store, tmp_path)))


def content(path: Path) -> str:
    """Return a digest of all rows of a store; its bytes may differ."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM duckdb_tables() ORDER BY 1"
            ).fetchall()
        ]
        rows = [
            connection.execute(
                f"SELECT '{table}', count(*), sum(hash(row)), bit_xor(hash(row)) "
                f"FROM {table} AS row"
            ).fetchall()
            for table in tables
        ]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def test_the_whole_story(workspace: Workspace, tmp_path: Path) -> None:
    plan = workspace.plan(ROUTES, name="cheaper")
    assert (plan.name, plan.status) == ("cheaper", "projected")
    assert plan.result.sample_size == 28_185
    low, high = plan.result.confidence_intervals.savings_usd_95 or (0, 0)
    assert 0 < low < plan.result.aggregates.projected_savings_usd < high
    entry = workspace.apply(plan, actor=ttplan.User(UUID(int=7)))
    assert workspace.show(plan.plan_id).status == "applied"
    assert list(workspace.routes()["name"]) == [
        "short chat to mini",
        "code completions to haiku",
        "expensive chat to haiku",
    ]
    assert workspace.anchor() == ttplan.TipAnchor(0, entry.hash)
    report = workspace.verify(public_key=KEY.public_key.hex, anchor=f"0:{entry.hash}")
    assert (report.verdict, report.entries) == ("verified", 1)
    assert workspace.verify().verdict == "consistent with its own key"
    exported = tmp_path / "chain.jsonl"
    assert workspace.export_chain(exported) == 1
    assert ttplan.verify_file(exported, public_key=KEY.public_key.hex).ok
    assert ttplan.verify_file(exported).verdict == "consistent with its own key"


def test_a_plan_is_the_replay_of_the_stores_own_table(workspace: Workspace) -> None:
    plan = workspace.plan(ROUTES, name="p", config=PlanConfig(l1_ttl_seconds=300), seed=5)
    assert plan.result.full is not None
    with workspace.store.read() as snapshot:
        repeated = replay_table(
            snapshot.requests(),
            read_plan_file(ROUTES).routes,
            plan.run.pricing,
            plan.run.config,
            org_id=plan.run.org_id,
            plan_id=plan.plan_id,
            window_start=plan.result.window_start,
            window_end=plan.result.window_end,
            seed=5,
            inputs=plan.result.full.inputs,
        )
    assert repeated == plan.result
    assert workspace.show(plan.plan_id).result.model_dump_json() == plan.result.model_dump_json()


def test_importing_again_adds_nothing_and_says_so(workspace: Workspace) -> None:
    report = workspace.import_logs(DATA / "requests.parquet")
    assert (report.added, report.already_there) == (0, 28_185)
    assert "0 added, 28,185 there already" in str(report)


def test_a_log_without_organisations_belongs_to_the_store(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "s.duckdb")
    workspace.import_logs(write(tmp_path / "log.csv", numbered(300)))
    with workspace.store.read() as snapshot:
        assert snapshot.request_orgs() == [snapshot.org_id()]
    assert workspace.plan(ROUTES, name="p").result.sample_size == 300


def test_a_log_of_several_organisations_needs_an_org_id(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.jsonl",
        [*numbered(2, org_id=str(UUID(int=1))), *numbered(4, org_id=str(UUID(int=2)))[2:]],
    )
    path = tmp_path / "s.duckdb"
    workspace = opened(path)
    before = content(path)
    with pytest.raises(InputError, match="requests of 2 organisations; say whose"):
        workspace.import_logs(log)
    assert content(path) == before
    workspace = opened(path, org_id=UUID(int=2))
    workspace.import_logs(log)
    plan = workspace.plan(ROUTES, name="p")
    assert plan.result.sample_size == 2
    assert any("another organisation" in caveat for caveat in plan.result.caveats)
    with pytest.raises(StoreError, match="belongs to organisation"):
        opened(path, org_id=UUID(int=3))


def test_rows_that_cannot_be_used_leave_the_store_as_it_was(
    workspace: Workspace, tmp_path: Path
) -> None:
    before = content(tmp_path / "plans.duckdb")
    log = write(
        tmp_path / "log.jsonl", [*numbered(5), numbered(1, input_tokens=-1)[0] | {"id": "bad"}]
    )
    with pytest.raises(InputError, match="1 of 6 rows cannot be used"):
        workspace.import_logs(log)
    twice = write(tmp_path / "twice.jsonl", [*numbered(2), *numbered(1, tag="x")])
    with pytest.raises(
        InputError, match=r"twice\.jsonl: the request id .* is in row 1 and in row 3"
    ):
        workspace.import_logs(twice)
    assert content(tmp_path / "plans.duckdb") == before
    report = workspace.import_logs(log, on_bad_rows="skip")
    assert (report.added, report.unusable) == (5, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": " "}, "a plan needs a name"),
        ({"name": "p", "seed": -1}, "seed is -1"),
        ({"name": "p", "bootstrap_iterations": 0}, "bootstrap_iterations is 0"),
        (
            {"name": "p", "interval_method": "magic"},
            "expected one of auto, hall, limit, resample, tt-plan-core",
        ),
        ({"name": "p", "window": (NOW, NOW)}, "is not after its start"),
        ({"name": "p", "window": (NOW, NOW - timedelta(days=1))}, "is not after its start"),
        (
            {"name": "p", "window": (NOW.replace(tzinfo=None), NOW)},
            "expected a timezone-aware datetime",
        ),
        (
            {"name": "p", "config": PlanConfig(cluster="color")},
            "config.cluster is 'color', and the log has no such column",
        ),
    ],
)
def test_a_plan_that_cannot_be_made_is_not_kept(
    workspace: Workspace,
    sample_content: str,
    tmp_path: Path,
    options: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        workspace.plan(ROUTES, **options)  # type: ignore[arg-type]
    assert content(tmp_path / "plans.duckdb") == sample_content


def test_a_target_without_a_price_is_an_error_unless_allowed(
    workspace: Workspace, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "routes: [{name: odd, priority: 1, when: {tag_equals: chat}, then: {target_model: "
        "our-own-model}}]"
    )
    with pytest.raises(
        InputError, match="no price for model 'our-own-model', the target of route 'odd'"
    ):
        workspace.plan(routes, name="p")
    plan = workspace.plan(routes, name="p", allow_unpriced=True)
    assert plan.result.aggregates.requests_unprice_able == 18_609
    assert plan.result.aggregates.change_vs_actual_usd == 0
    prices = tmp_path / "prices.yaml"
    prices.write_text('"openai:our-own-model": {input_per_million: 0.1, output_per_million: 0.1}')
    assert (
        workspace.plan(routes, name="p", prices=prices).result.aggregates.requests_rerouted
        == 18_609
    )


def test_nothing_to_replay_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no requests to replay; import a log first"):
        opened(tmp_path / "s.duckdb").plan(ROUTES, name="p")


def test_plans_are_found_by_name_or_first_digits_of_their_id(workspace: Workspace) -> None:
    plan = workspace.plan(ROUTES, name="p")
    assert workspace.show(str(plan.plan_id).upper()).name == "p"
    assert workspace.show(str(plan.plan_id)[:32]).name == "p"
    second = workspace.plan(ROUTES, name="q")
    with pytest.raises(
        InputError, match="2 plans have the name '0000' or an id that begins with it: 0000"
    ):
        workspace.show("0000")
    assert workspace.show(second.plan_id).name == "q"
    assert workspace.show("q").plan_id == second.plan_id
    for unknown in ("12345678", "000", str(UUID(int=9)), "x" * 36):
        with pytest.raises(PlanNotFound, match="list its plans"):
            workspace.show(unknown)


def test_applying_twice_is_invalid_state(workspace: Workspace) -> None:
    plan = workspace.plan(ROUTES, name="p")
    workspace.apply(plan.plan_id)
    with pytest.raises(InvalidState, match="is 'applied'"):
        workspace.apply(plan)
    assert workspace.verify(public_key=KEY.public_key).entries == 1


def test_tampering_with_the_file_is_found_and_named(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        workspace.apply(workspace.plan(ROUTES, name=name))
    with duckdb.connect(str(tmp_path / "plans.duckdb")) as connection:
        connection.execute(
            "UPDATE audit_entries SET body = replace(body, '\"sample_size\":28185', "
            "'\"sample_size\":28186') WHERE seq = 1"
        )
    report = workspace.verify(public_key=KEY.public_key.hex)
    assert report.verdict == "broken"
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.error) == (1, "HashMismatch")


def test_a_new_store_gets_a_key_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SIGNING_KEY_VARIABLE, raising=False)
    workspace = ttplan.open(tmp_path / "s.duckdb")
    key_file = tmp_path / "s.duckdb.key.pem"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert load_key(key_file).public_key.hex == workspace.public_key
    assert ttplan.open(tmp_path / "s.duckdb").public_key == workspace.public_key
    assert key_file.read_bytes() not in (tmp_path / "s.duckdb").read_bytes()


def test_a_key_in_the_environment_wins_over_the_file_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    workspace = ttplan.open(tmp_path / "s.duckdb")
    assert workspace.public_key == KEY.public_key.hex
    assert not (tmp_path / "s.duckdb.key.pem").exists()


def test_a_missing_or_wrong_key_applies_nothing(workspace: Workspace, tmp_path: Path) -> None:
    workspace.apply(workspace.plan(ROUTES, name="a"))
    plan = workspace.plan(ROUTES, name="b")
    path = tmp_path / "plans.duckdb"
    before = content(path)
    with pytest.raises(KeyFileError, match="no signing key at"):
        opened(path, key=None, key_file=tmp_path / "none.pem").apply(plan.plan_id)
    with pytest.raises(ttplan.AuditError, match="was not signed with this key"):
        opened(path, key=OTHER_KEY).apply(plan.plan_id)
    assert content(path) == before


def test_an_export_replaces_nothing_unless_told(workspace: Workspace, tmp_path: Path) -> None:
    workspace.apply(workspace.plan(ROUTES, name="a"))
    target = tmp_path / "chain.jsonl"
    target.write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        workspace.export_chain(target)
    assert target.read_text() == "precious"
    workspace.export_chain(target, overwrite=True)
    assert json.loads(target.read_text().splitlines()[0])["entry_count"] == 1
    with pytest.raises(InputError, match="cannot be written"):
        workspace.export_chain(tmp_path / "none" / "chain.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.jsonl", "plans.duckdb"]
