"""The live routes written for gateways: by a notebook, by the command line, and by a watch."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
import yaml

import ttplan
from tests.cli.support import check_error
from tests.display.test_cards import HOSTILE, Tags
from tests.logs.test_reader import numbered, write
from tests.support import plan_driver, plans
from tests.support.contexts import context_of
from tests.workspace.test_workspace import NOW, content, opened
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE
from ttplan.cli.entrypoint import run
from ttplan.display.routes import ExportCard
from ttplan.history.timeline import live_digest, seen_routes
from ttplan.model.errors import (
    DriftError,
    InputError,
    StoreError,
    TtplanError,
    UnsupportedByGateway,
)
from ttplan.model.gateway import RouteExport, UnsupportedField
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.routes import export
from ttplan.operations.routes.export import RouteWatcher, export_routes, watch_routes
from ttplan.store.memory import MemoryStore
from ttplan.workspace import Workspace


def route(name: str, target: str = "gpt-4o-mini", **when: Any) -> ProposedRoute:
    return plans.named(name, when=RouteConditions(**when), then=RouteAction(target_model=target))


TAGGED = route("a", model_in=("gpt-4o",), tag_equals="chat")
SHORT = route("bb", model_in=("gpt-4o",), input_tokens_lt=100)


def live_routes(ws: Workspace) -> list[LiveRoute]:
    """The routes that are live, by precedence."""
    with ws.store.read() as snapshot:
        org_id = snapshot.org_id()
        return [] if org_id is None else snapshot.live_routes(org_id)


def opened_later(path: Path) -> Workspace:
    """The workspace of the prepared store; its clock begins after the store was prepared."""
    moments = (NOW + timedelta(minutes=n) for n in range(100, 10**6))
    return opened(path, clock=lambda: next(moments), new_id=uuid4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 300 requests, and a plan that is live with one route."""
    folder = tmp_path_factory.mktemp("prepared")
    log = write(folder / "log.jsonl", numbered(300, tag="chat", latency_ms=900))
    moments = (NOW + timedelta(minutes=n) for n in range(100))
    made = opened(folder / "s.duckdb", clock=lambda: next(moments))
    made.import_logs(log)
    made.apply(made.plan([TAGGED], name="first"))
    return folder / "s.duckdb"


@pytest.fixture
def ws(prepared: Path, tmp_path: Path) -> Workspace:
    """The workspace of a copy of the prepared store."""
    return opened_later(Path(shutil.copy(prepared, tmp_path)))


# --- export -------------------------------------------------------------------


def test_tokentrimmer_in_json_and_yaml(ws: Workspace, tmp_path: Path) -> None:
    shown = ws.export_routes(tmp_path / "routes.json")
    written = json.loads((tmp_path / "routes.json").read_text())
    assert [route["name"] for route in written] == ["a"]
    assert written[0]["when"] == {"model_in": ["gpt-4o"], "tag_equals": "chat"}
    assert (shown.result.routes, shown.result.live) == (
        1,
        live_digest(seen_routes(live_routes(ws))),
    )
    ws.export_routes(tmp_path / "routes.yaml")
    assert yaml.safe_load((tmp_path / "routes.yaml").read_text()) == written
    assert (
        (tmp_path / "routes.yaml")
        .read_text()
        .startswith("# Written by ttplan from the live routes")
    )


def test_litellm_has_the_provider_that_the_log_has(ws: Workspace, tmp_path: Path) -> None:
    ws.export_routes(tmp_path / "config.yaml", "litellm")
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert [deployment["litellm_params"]["model"] for deployment in written["model_list"]] == [
        "openai/gpt-4o-mini",
        "openai/gpt-4o",
    ]
    ws.export_routes(
        tmp_path / "config.yaml", "litellm", overwrite=True, providers={"gpt-4o": "azure"}
    )
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert [deployment["litellm_params"]["model"] for deployment in written["model_list"]] == [
        "openai/gpt-4o-mini",
        "azure/gpt-4o",
    ]


def test_a_provider_can_come_from_prices_and_the_catalogue(tmp_path: Path) -> None:
    driver = plan_driver.PlanDriver(MemoryStore())
    rate = ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(1))
    driver.project(
        1,
        route("a", "llama", model_in=("gemini-2.5-pro",), tag_equals="t"),
        pricing={"together:llama": rate},
    )
    driver.apply(1)
    export_routes(context_of(driver.store), tmp_path / "c.json", "litellm")
    models = [
        deployment["litellm_params"]["model"]
        for deployment in json.loads((tmp_path / "c.json").read_text())["model_list"]
    ]
    assert models == ["together_ai/llama", "gemini/gemini-2.5-pro"]


def test_a_model_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    driver = plan_driver.PlanDriver(MemoryStore())
    driver.live(1, route("a", "house-model", model_in=("gpt-4o",)))
    with pytest.raises(InputError, match=r"who serves 'house-model'.*providers"):
        export_routes(context_of(driver.store), tmp_path / "c.json", "litellm")
    export_routes(
        context_of(driver.store),
        tmp_path / "c.json",
        "litellm",
        providers={"house-model": "hosted_vllm"},
    )
    (deployment,) = json.loads((tmp_path / "c.json").read_text())["model_list"]
    assert deployment["litellm_params"]["model"] == "hosted_vllm/house-model"


def test_a_model_of_two_providers_is_asked_for(tmp_path: Path) -> None:
    rows = [
        row | {"provider": provider}
        for row, provider in zip(numbered(2), ("openai", "azure"), strict=True)
    ]
    ws = opened(tmp_path / "s.duckdb")
    ws.import_logs(write(tmp_path / "log.jsonl", rows))
    ws.apply(ws.plan([TAGGED], name="p"))
    with pytest.raises(InputError, match="'gpt-4o-mini' is served by azure, openai; say which"):
        ws.export_routes(tmp_path / "c.yaml", "litellm")


def test_what_cannot_be_said_refuses_unless_told(ws: Workspace, tmp_path: Path) -> None:
    ws.apply(ws.plan([SHORT], name="second"))
    target = tmp_path / "c.yaml"
    with pytest.raises(
        UnsupportedByGateway,
        match=r"route 'bb', when.input_tokens_lt: it does not choose by tokens; the "
        r"route is left out",
    ) as e:
        ws.export_routes(target, "litellm")
    assert [loss.route for loss in e.value.losses] == ["bb"]
    assert not target.exists()
    shown = ws.export_routes(target, "litellm", allow_loss=True)
    assert [loss.field for loss in shown.result.losses] == ["when.input_tokens_lt"]
    assert "bb" in repr(shown)
    assert "go to the next route that takes them" in repr(shown)


def test_no_live_routes_are_an_empty_file(tmp_path: Path) -> None:
    export_routes(context_of(MemoryStore()), tmp_path / "r.json", "tokentrimmer")
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_what_cannot_be_written_to(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"r.txt: the name of a file of routes ends in .json, .yaml, .yml"
    ):
        ws.export_routes(tmp_path / "r.txt")
    with pytest.raises(
        InputError,
        match="'nginx' is not a known gateway; expected one of tokentrimmer, litellm",
    ):
        ws.export_routes(tmp_path / "r.json", "nginx")  # type: ignore[arg-type]
    (tmp_path / "r.json").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        ws.export_routes(tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "mine"


def test_a_card_fits_and_escapes() -> None:
    loss = UnsupportedField(route=HOSTILE, field="when.x", reason=HOSTILE * 3, effect="is left out")
    shown = ExportCard(
        RouteExport(
            gateway="litellm",
            path=f"{HOSTILE}.yaml",
            routes=1,
            live="0" * 64,
            losses=(loss,),
            notes=(HOSTILE,),
        )
    )
    assert all(len(line) <= 80 for line in repr(shown).splitlines())
    assert "img" not in Tags(shown._repr_html_()).tags


# --- watch --------------------------------------------------------------------


class Ended(Exception):
    """The test has seen enough."""


def watch(
    watcher: RouteWatcher, *steps: Callable[[], object]
) -> tuple[list[RouteExport], list[str]]:
    """Run a watch, doing one step at each of its pauses; return its exports and its errors."""
    exports: list[RouteExport] = []
    errors: list[str] = []
    todo = iter(steps)

    def pause(_: float) -> None:
        step = next(todo, None)
        if step is None:
            raise Ended
        step()

    with pytest.raises(Ended):
        watcher.run(exports.append, lambda error: errors.append(str(error)), sleep=pause)
    return exports, errors


def names(path: Path) -> list[str]:
    return [route["name"] for route in json.loads(path.read_text())]


def test_a_watch_writes_when_the_routes_change_and_only_then(ws: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    second = ws.plan([SHORT], name="second")
    seen: list[list[str]] = []

    def look() -> None:
        seen.append(names(target))

    exports, errors = watch(
        ws.watch_routes(target),
        look,
        lambda: ws.apply(second),
        look,
        look,
        lambda: ws.revert(second),
        look,
        target.unlink,
        look,
    )
    assert seen == [["a"], ["bb", "a"], ["bb", "a"], ["a"], ["a"]]
    assert [export.routes for export in exports] == [1, 2, 1, 1]
    assert errors == []


def test_a_watch_opens_the_store_only_where_its_file_changed(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_SETTLED_NS", 0)
    opened_ = []
    read = ws.store.read

    def counted() -> Any:
        opened_.append(1)
        return read()

    monkeypatch.setattr(ws.store, "read", counted)
    watcher = ws.watch_routes(tmp_path / "r.json")
    assert watcher.update() is not None
    assert [watcher.update() for _ in range(5)] == [None] * 5
    assert len(opened_) == 1
    ws.apply(ws.plan([SHORT], name="second"))
    before = len(opened_)
    assert watcher.update() is not None
    assert len(opened_) == before + 1


def test_a_file_that_changed_just_now_is_looked_at_again(ws: Workspace, tmp_path: Path) -> None:
    watcher = ws.watch_routes(tmp_path / "r.json")
    first = watcher.update()
    second = watcher.update()
    assert first is not None
    assert second is not None
    assert (first.changed, second.changed) == (True, False)


def test_a_watch_reports_an_error_once_and_continues(ws: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "c.json"
    second = ws.plan([SHORT], name="second")
    kept = []
    do_nothing = lambda: None  # noqa: E731
    exports, errors = watch(
        ws.watch_routes(target, "litellm"),
        lambda: kept.append(target.read_bytes()),
        lambda: ws.apply(second),
        do_nothing,
        lambda: kept.append(target.read_bytes()),
        lambda: ws.revert(second),
        do_nothing,
    )
    assert kept[0] == kept[1]
    assert len(errors) == 1
    assert "input_tokens_lt" in errors[0]
    assert [export.changed for export in exports] == [True]


def test_unsigned_routes_are_exported_only_if_allowed(ws: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "r.json"

    def edit(priority: int) -> None:
        with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
            connection.execute(f"UPDATE routes SET priority = {priority}")

    kept = []
    exports, errors = watch(
        ws.watch_routes(target),
        lambda: kept.append(target.read_bytes()),
        lambda: edit(77),
        lambda: kept.append(target.read_bytes()),
        lambda: ws.repair(),
    )
    assert kept[0] == kept[1] == target.read_bytes()
    assert [export.routes for export in exports] == [1]
    (error_message,) = errors
    assert (
        "what is live is not what was signed for: 'a' edited (see `ttplan drift`, `ttplan repair`)"
        in error_message
    )
    edit(77)
    with pytest.raises(DriftError, match="allow_drift"):
        ws.export_routes(target, overwrite=True)
    export = ws.export_routes(target, overwrite=True, allow_drift=True).result
    assert export.notes[0].startswith("What is live is not what was signed for: 'a' edited")
    assert json.loads(target.read_text())[0]["priority"] == 77
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("UPDATE plan_runs SET nonce = repeat('a', 64)")
    with pytest.raises(
        DriftError, match="known whether the live routes are the signed ones: entry 0"
    ):
        ws.export_routes(target, overwrite=True)


def test_a_watch_that_starts_removes_what_a_killed_one_left(ws: Workspace, tmp_path: Path) -> None:
    old, new, other = (
        tmp_path / name
        for name in (".r.json.0123abcd.new", ".r.json.89abcdef.new", ".r.json.mine.new")
    )
    for draft in (old, new, other):
        draft.write_text("half")
    for draft in (old, other):
        os.utime(draft, (0, 0))
    ws.watch_routes(tmp_path / "r.json").update()
    assert [draft.exists() for draft in (old, new, other)] == [
        False,
        True,
        True,
    ]  # the new one may be another's, writing
    assert names(tmp_path / "r.json") == ["a"]


def test_a_store_in_memory_can_be_watched(tmp_path: Path) -> None:
    driver = plan_driver.PlanDriver(MemoryStore())
    target = tmp_path / "r.json"
    exports, _ = watch(
        watch_routes(context_of(driver.store), target), lambda: driver.live(1, TAGGED)
    )
    assert [export.routes for export in exports] == [0, 1]
    assert names(target) == ["a"]


def test_a_write_that_fails_leaves_the_old_file(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r.json"
    ws.export_routes(target)
    before = target.read_bytes()
    ws.apply(ws.plan([SHORT], name="second"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"r\.json cannot be written: No space left on device"):
        ws.export_routes(target, overwrite=True)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []


def test_file_and_folder_are_synced_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(number: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file")
        sync(number)

    def rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    export_routes(context_of(MemoryStore()), tmp_path / "r.json", "tokentrimmer")
    assert done == ["file", "rename", "folder"]


# --- the command line ---------------------------------------------------------


@pytest.fixture
def shell(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    return ws


def test_export_routes(
    shell: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "r.json")
    assert run(["export-routes", target]) == 0
    out = capsys.readouterr().out
    assert "1 live route written to" in out
    check_error(["export-routes", target], 2, "exists already", capsys)
    assert run(["export-routes", target, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["routes"] == 1
    config = str(tmp_path / "c.yaml")
    assert run(["export-routes", config, "--to", "litellm", "--provider", "gpt-4o=azure"]) == 0
    assert "azure/gpt-4o" in Path(config).read_text()
    check_error(
        ["export-routes", config, "--provider", "gpt-4o"],
        2,
        "--provider is 'gpt-4o'; expected MODEL=PROVIDER",
        capsys,
    )


def test_what_cannot_be_said_exits_1(
    shell: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.apply(shell.plan([SHORT], name="second"))
    before = content(tmp_path / "s.duckdb")
    config = str(tmp_path / "c.yaml")
    check_error(
        ["export-routes", config, "--to", "litellm"], 1, "LiteLLM does not support this", capsys
    )
    check_error(
        ["watch", config, "--to", "litellm", "--once"], 1, "LiteLLM does not support this", capsys
    )
    assert run(["export-routes", config, "--to", "litellm", "--allow-loss", "--json"]) == 0
    assert [loss["route"] for loss in json.loads(capsys.readouterr().out)["losses"]] == ["bb"]
    assert content(tmp_path / "s.duckdb") == before


def test_watch_once(shell: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "r.json"
    assert run(["watch", str(target), "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is True
    assert run(["watch", str(target), "--once"]) == 0
    assert "already has the 1 live route for TokenTrimmer" in " ".join(
        capsys.readouterr().out.split()
    )
    assert names(target) == ["a"]


def test_watch_until_an_interrupt(
    shell: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    looks = [0]

    def look(self: RouteWatcher) -> RouteExport | None:
        looks[0] += 1
        if looks[0] == 1:
            raise StoreError("it is in use")
        if looks[0] == 2:
            return real(self)
        raise KeyboardInterrupt

    real = RouteWatcher.update
    monkeypatch.setattr(RouteWatcher, "update", look)
    assert run(["watch", str(tmp_path / "r.json"), "--every", "1s", "--json"]) == 130
    out, err = capsys.readouterr()
    assert [json.loads(line)["routes"] for line in out.splitlines()] == [1]
    assert err.splitlines() == ["ttplan: it is in use", "ttplan: stopped; nothing was half-written"]


def test_the_error_is_one_of_ours() -> None:
    assert issubclass(ttplan.UnsupportedByGateway, TtplanError)
