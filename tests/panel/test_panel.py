"""The panel without a browser: its controls are pressed in Python, and what it shows is held
against what is stored."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY
from tests.display.test_cards import HOSTILE, Tags
from tests.support import plans
from tests.workspace.test_workspace import opened
from ttplan.apply import StoreChain
from ttplan.model.audit import AuditEntry
from ttplan.model.errors import (
    AuditError,
    Cancelled,
    InvalidState,
    OutcomeUnknown,
    StoreConflict,
    StoreError,
    StoreLocked,
    TtplanError,
)
from ttplan.panel import Panel
from ttplan.panel.errors import error_notice
from ttplan.panel.html import shortened
from ttplan.panel.work import Worker
from ttplan.util.monitor import Monitor
from ttplan.workspace import Workspace

ADA = "Ada@example.com"
FIRST, SECOND, HOSTILE_PLAN = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A store with three plans that saw no live routes; the first two want `route 2`."""
    made = opened(tmp_path / "s.duckdb")
    with made.store.transaction() as tx:
        tx.set_org_id(plans.ORG)
        tx.add_plan(plans.run(1, (plans.route(1), plans.route(2)), name="first", live_seen=()))
        tx.add_plan(
            plans.run(2, (plans.route(2, priority=9), plans.route(4)), name="second", live_seen=())
        )
        tx.add_plan(plans.run(3, (plans.route(5, name=HOSTILE),), name=HOSTILE, live_seen=()))
    return made


def shown(workspace: Workspace, plan_id: UUID | None = None) -> Panel:
    """A panel that has read what it shows."""
    panel = workspace.panel(who=ADA)
    assert panel.join()
    if plan_id is not None:
        choose(panel, plan_id)
    return panel


def choose(panel: Panel, plan_id: UUID) -> None:
    panel.plans.choice.value = plan_id
    assert panel.join()


def act(panel: Panel, control: str, name: str, clicks: int = 1) -> None:
    """Type the plan's name, and press a button."""
    panel.plans.confirm.value = name
    for _ in range(clicks):
        getattr(panel.plans, control).click()
    assert panel.join()


def shown_text(place: Any) -> str:
    """What a person reads in a place."""
    return unescape(str(place.value))


def state(place: Any) -> str:
    return str(place.value).split('data-state="')[1].split('"')[0]


def test_apply_shows_its_entry_and_revert_puts_back(workspace: Workspace) -> None:
    panel = shown(workspace, FIRST)
    assert "first" in shown_text(panel.plans.card)
    assert "2 new" in shown_text(panel.plans.diff)
    assert (panel.plans.apply.disabled, panel.plans.revert.disabled) == (True, True)
    assert "To apply: type the plan's name as it is shown." in shown_text(panel.plans.missing_steps)
    act(panel, "apply", "first")
    (entry,) = workspace.entries().to_dict("records")
    assert state(panel.plans.outcome) == "done"
    assert f"0:{entry['hash']}" in shown_text(panel.plans.outcome)
    assert "plan.applied" in shown_text(panel.plans.outcome)
    assert "plan.applied" in shown_text(panel.chain.rows)
    assert "route 2" in shown_text(panel.routes.rows)
    assert str(ttplan.User.named(ADA).user_id) in entry["actor"]
    assert workspace.show(FIRST).status == "applied"
    assert panel.plans.confirm.value == ""
    assert "first · applied" in panel.plans.choice.options[2][0]
    act(panel, "revert", "first")
    assert state(panel.plans.outcome) == "done"
    assert workspace.show(FIRST).status == "reverted"
    assert workspace.routes().empty
    assert "No routes are live" in shown_text(panel.routes.rows)


@pytest.mark.parametrize(
    ("who", "typed"),
    [("", "first"), ("   ", "first"), (ADA, ""), (ADA, "firs"), (ADA, "First"), (ADA, "second")],
)
def test_buttons_stay_disabled_until_every_step_is_done(
    workspace: Workspace, who: str, typed: str
) -> None:
    panel = shown(workspace, FIRST)
    panel.plans.who.value = who
    act(panel, "apply", typed)
    assert panel.plans.apply.disabled
    assert workspace.anchor() is None


def test_a_double_click_applies_once_and_says_so(workspace: Workspace) -> None:
    panel = shown(workspace, FIRST)
    panel.plans.confirm.value = "first"
    clicks = [threading.Thread(target=panel.plans.apply.click) for _ in range(8)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert panel.join()
    panel.plans.apply.click()
    assert panel.join()
    assert state(panel.plans.outcome) == "done"
    assert len(workspace.entries()) == 1


def test_a_stale_plan_says_what_changed_and_needs_a_tick(workspace: Workspace) -> None:
    workspace.apply(FIRST)
    panel = shown(workspace, SECOND)
    assert state(panel.plans.objection) == "stale"
    assert "2 live routes have changed since" in shown_text(panel.plans.objection)
    assert f"route 'route 1' was added by applying plan {FIRST}" in shown_text(panel.plans.diff)
    assert panel.plans.allow.layout.display == ""
    act(panel, "apply", "second")
    assert workspace.show(SECOND).status == "projected"
    assert "To apply: tick that you apply a stale plan." in shown_text(panel.plans.missing_steps)
    panel.plans.allow.value = True
    act(panel, "apply", "second")
    assert workspace.show(SECOND).status == "applied"
    assert '"allowed_stale":true' in workspace.entries()["payload"][1]
    choose(panel, FIRST)
    assert state(panel.plans.objection) == "refused"
    assert f"plan {SECOND} ('second') has since" in shown_text(panel.plans.objection)
    act(panel, "revert", "first")
    assert len(workspace.entries()) == 2


def test_two_panels_on_one_store_lose_nothing(workspace: Workspace) -> None:
    mine, hers = shown(workspace, FIRST), shown(workspace, SECOND)
    act(hers, "apply", "second")
    act(mine, "apply", "first")
    assert state(mine.plans.outcome) == "changed"
    assert "Other routes are live now, so the plan is stale. Nothing was written." in shown_text(
        mine.plans.outcome
    )
    assert state(mine.plans.objection) == "stale"
    choose(mine, SECOND)
    assert state(mine.plans.outcome) == "idle"
    act(hers, "revert", "second")
    act(mine, "revert", "second")
    assert "The plan is reverted now." in shown_text(mine.plans.outcome)
    assert list(workspace.entries()["seq"]) == [0, 1]
    assert "second · reverted" in mine.plans.choice.options[1][0]


def test_a_hostile_name_is_text_everywhere(workspace: Workspace) -> None:
    panel = shown(workspace, HOSTILE_PLAN)
    act(panel, "apply", HOSTILE)
    assert workspace.show(HOSTILE_PLAN).status == "applied"
    panel.tabs.selected_index = 2
    assert panel.join()
    places = (
        panel.plans.card,
        panel.plans.diff,
        panel.plans.outcome,
        panel.plans.objection,
        panel.routes.rows,
        panel.chain.rows,
    )
    for place in places:
        tags = Tags(place.value)
        assert "img" not in tags.tags
        assert not any(name.startswith("on") for name in tags.attributes)
    assert HOSTILE in shown_text(panel.plans.card)
    assert HOSTILE in shown_text(panel.routes.rows)
    assert HOSTILE in panel.plans.choice.options[0][0]
    assert not panel.plans.choice.description_allow_html


def test_invisible_characters_in_a_name_are_shown() -> None:
    assert shortened("a\u202eb\n c\x00") == r"a\u202eb c\u0000"
    assert shortened("x" * 300) == "x" * 199 + "…"


def test_a_blocking_policy_is_shown_before_applying(workspace: Workspace, tmp_path: Path) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text("rules:\n  - rule: savings > 1000\n    level: blocking\n")
    workspace.set_policy(rules)
    panel = shown(workspace, FIRST)
    assert state(panel.plans.objection) == "refused"
    act(panel, "apply", "first")
    assert workspace.show(FIRST).status == "projected"


def test_a_process_that_holds_the_store_is_named_while_waiting(
    workspace: Workspace, tmp_path: Path
) -> None:
    panel = shown(opened(tmp_path / "s.duckdb", lock_timeout=1.0), FIRST)
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"open\n"
        waits: list[str] = []
        panel.plans.waiting.observe(lambda change: waits.append(change["new"]), "value")
        act(panel, "apply", "first")
        assert state(panel.plans.outcome) == "locked"
        assert f"in use by process {other.pid} " in shown_text(panel.plans.outcome)
        assert any(f"process {other.pid} " in unescape(wait) for wait in waits)
        assert panel.plans.waiting.value == ""
        panel.plans.refresh.click()
        panel.plans.cancel.click()
        assert panel.join()
        assert state(panel.plans.outcome) == "cancelled"
        other.stdin.close()
        other.wait()
    panel.plans.refresh.click()
    assert panel.join()
    assert state(panel.plans.outcome) == "idle"
    act(panel, "apply", "first")
    assert workspace.show(FIRST).status == "applied"


@pytest.mark.parametrize(
    ("key", "anchor", "expected", "text"),
    [
        ("", "", "own-key", "Consistent with its own key"),
        (KEY.public_key.hex, "", "verified", "Give an anchor too"),
        (KEY.public_key.hex, "tip", "verified", "ends at its anchor"),
        (KEY.public_key.hex, f"7:{'0' * 64}", "broken", "this is not the anchor's chain"),
        ("22" * 32, "", "broken", "entry 0"),
        ("d04a", "", "input", "64 hex digits"),
        ("", "41", "input", "not an anchor"),
    ],
)
def test_verify_shows_what_it_proves(
    workspace: Workspace, key: str, anchor: str, expected: str, text: str
) -> None:
    workspace.apply(FIRST)
    panel = shown(workspace)
    panel.verifying.key.value = f" {key} "
    panel.verifying.anchor.value = str(workspace.anchor()) if anchor == "tip" else anchor
    panel.verifying.verify.click()
    assert panel.join()
    assert state(panel.verifying.outcome) == expected
    assert text in shown_text(panel.verifying.outcome)


def test_verify_finds_a_tampering_and_names_the_entry(workspace: Workspace, tmp_path: Path) -> None:
    workspace.apply(FIRST)
    workspace.apply(SECOND, allow_stale=True)
    with duckdb.connect(str(tmp_path / "s.duckdb")) as forger:
        forger.execute(
            "UPDATE audit_entries SET body = replace(body, '12.34', '99.34') WHERE seq = 1"
        )
    panel = shown(workspace)
    panel.verifying.key.value = KEY.public_key.hex
    panel.verifying.verify.click()
    assert panel.join()
    assert state(panel.verifying.outcome) == "broken"
    assert "entry 1: its content hashes to" in shown_text(panel.verifying.outcome)
    assert "HashMismatch" in shown_text(panel.verifying.report)


def test_verifying_shows_progress_and_can_be_cancelled(workspace: Workspace) -> None:
    workspace.apply(FIRST)
    panel = shown(workspace)
    counts: list[str] = []

    def noticed(change: Any) -> None:
        counts.append(change["new"])
        panel.verifying.cancel.click()
        panel.verifying.worker._task.check()  # type: ignore[union-attr]

    panel.verifying.count.observe(noticed, "value")
    panel.verifying.verify.click()
    assert panel.join()
    assert counts == ["1 of 1 entries"]
    assert state(panel.verifying.outcome) == "cancelled"
    assert not panel.verifying.verify.disabled
    assert panel.verifying.cancel.disabled


def test_the_chain_is_browsed_page_by_page_as_it_is_stored(
    workspace: Workspace, tmp_path: Path
) -> None:
    chain = workspace._context.chain()
    with workspace.store.transaction() as tx:
        for number in range(45):
            chain.append(tx, plans.ORG, ttplan.System(), "note", {"said": f"{HOSTILE} {number}"})
    with duckdb.connect(str(tmp_path / "s.duckdb")) as forger:
        forger.execute("UPDATE audit_entries SET body = 'no more' WHERE seq = 3")
    panel = shown(workspace)
    panel.tabs.selected_index = 3
    assert panel.join()
    assert shown_text(panel.chain.position) == "1 to 20 of 45"
    assert f"{HOSTILE} 44" in shown_text(panel.chain.rows)
    for _ in range(2):
        panel.chain.forward.click()
        assert panel.join()
    assert shown_text(panel.chain.position) == "41 to 45 of 45"
    assert "not readable: verify the chain" in shown_text(panel.chain.rows)
    assert f"{HOSTILE} 0" in shown_text(panel.chain.rows)
    assert panel.chain.forward.disabled
    panel.chain.back.click()
    assert panel.join()
    assert shown_text(panel.chain.position) == "21 to 40 of 45"


def test_an_empty_store_shows_what_to_do(tmp_path: Path) -> None:
    panel = shown(opened(tmp_path / "empty.duckdb"))
    assert "Make one with ws.plan" in shown_text(panel.plans.objection)
    panel.tabs.selected_index = 3
    assert panel.join()
    assert "The chain has no entries yet" in shown_text(panel.chain.rows)
    panel.verifying.verify.click()
    assert panel.join()
    assert "Nothing to verify: the chain has no entries" in shown_text(panel.verifying.outcome)


def test_each_error_has_its_own_notice_and_advice() -> None:
    errors: list[BaseException] = [
        Cancelled("stopped"),
        ttplan.StalePlan(FIRST, ()),
        StoreLocked("in use by process 7 (python3)"),
        StoreError("disk full"),
        StoreConflict("serialisation"),
        OutcomeUnknown("the server is away"),
        InvalidState(FIRST, "applied"),
        AuditError("no key", applied=True),
        ttplan.KeyFileError("no such key"),
        ttplan.DriftError("route x"),
        TtplanError("some other"),
        ZeroDivisionError("division by zero"),
    ]
    notices = [error_notice(error) for error in errors]
    assert all(notice.detail and notice.advice for notice in notices)
    assert len({notice.title for notice in notices}) == len(notices)
    assert [notice.state for notice in notices[:4]] == ["cancelled", "stale", "locked", "error"]
    assert "ZeroDivisionError: division by zero" in notices[-1].detail
    by_error = dict(zip(map(type, errors), notices, strict=True))
    assert "nothing was written" not in by_error[AuditError].advice
    assert "all of it was written, or nothing" in by_error[OutcomeUnknown].advice.lower()


def test_failing_work_is_shown_and_the_panel_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = shown(workspace, FIRST)
    monkeypatch.setattr(panel.plans.backend, "apply", lambda *_, **__: dict[str, str]()["nothing"])
    act(panel, "apply", "first")
    assert state(panel.plans.outcome) == "error"
    assert "KeyError: 'nothing'" in shown_text(panel.plans.outcome)
    monkeypatch.undo()
    act(panel, "apply", "first")
    assert workspace.show(FIRST).status == "applied"


def test_waiting_for_another_thread_can_be_cancelled(
    workspace: Workspace,
) -> None:
    panel = shown(workspace, FIRST)
    waits: list[str] = []

    def noticed(change: Any) -> None:
        waits.append(unescape(change["new"]))
        panel.plans.cancel.click()

    panel.plans.waiting.observe(noticed, "value")
    panel.plans.confirm.value = "first"
    with workspace.store.read():
        panel.plans.apply.click()
        assert panel.plans.join()
    assert "another thread of this process" in waits[0]
    assert state(panel.plans.outcome) == "cancelled"
    assert workspace.anchor() is None


def test_cancelling_after_the_commit_does_not_hide_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = StoreChain.append

    def ended() -> None:
        raise Cancelled("stopped")

    def appending(self: StoreChain, *arguments: Any) -> AuditEntry:
        entry = append(self, *arguments)
        monkeypatch.setattr(workspace.store, "read", ended)
        return entry

    monkeypatch.setattr(StoreChain, "append", appending)
    with pytest.raises(AuditError, match="Do not repeat the operation") as raised:
        workspace.apply(FIRST)
    assert raised.value.applied
    monkeypatch.undo()
    assert workspace.show(FIRST).status == "applied"


def test_work_runs_one_at_a_time_and_the_last_queued_is_next() -> None:
    done: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    def first(task: Monitor) -> None:
        began.set()
        go_on.wait(10)
        done.append("first")

    def noting(name: str) -> Callable[[Monitor], None]:
        return lambda task: done.append(name)

    worker = Worker(
        settle=lambda: None,
        waiting=lambda holder: None,
        failed=lambda error: done.append(repr(error)),
    )
    assert worker.start(first)
    assert began.wait(10)
    assert not worker.start(noting("refused"))
    assert worker.start(noting("replaced"), queued=True)
    assert worker.start(noting("last"), queued=True)
    go_on.set()
    assert worker.join()
    assert done == ["first", "last"]
    assert not worker.busy


def test_the_user_comes_from_argument_environment_or_login(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTPLAN_USER", "grace@example.com")
    assert workspace.panel().plans.who.value == "grace@example.com"
    assert workspace.panel(who=ttplan.User(FIRST)).plans.who.value == str(FIRST)
    for name in ("TTPLAN_USER", "JUPYTERHUB_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: os.environ["NOT_THERE"])
    assert workspace.panel().plans.who.value == ""


def test_a_name_gives_the_same_id_in_any_spelling() -> None:
    named = ttplan.User.named
    assert named("\ud800") == named("?")  # half of a pair, which no encoding can write
    assert named(" Ada@Example.com ") == named("ada@example.com") != named("adam@example.com")
    assert named(str(FIRST).upper()) == ttplan.User(FIRST)
    with pytest.raises(ttplan.InputError, match="the user name is empty"):
        named(" \n")


def test_without_widgets_a_panel_is_a_line_of_text(workspace: Workspace) -> None:
    panel = shown(workspace)
    bundle = panel._repr_mimebundle_()
    assert bundle["text/plain"] == repr(panel) == "Panel('s.duckdb')"
    assert "application/vnd.jupyter.widget-view+json" in bundle
