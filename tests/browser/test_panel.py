"""A person at the panel, in both themes: what is clicked, what the page says then, and what is
stored."""

from __future__ import annotations

import os
import re

import duckdb
import pytest
from playwright.sync_api import Locator, expect

import ttplan
from tests.browser.conftest import WAIT, PanelPage
from ttplan.audit.keys.key_files import key_from_hex

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"
CHEAPER = "cheaper models for short chat and code"
HAIKU = "short chat to haiku"
KEY = key_from_hex("11" * 32)


def stored(desk: PanelPage) -> ttplan.Workspace:
    """The panel's store, as another process has it."""
    return ttplan.open(desk.store, key=KEY, create=False)


def plan_id(desk: PanelPage, name: str) -> str:
    return next(str(run.plan_id) for run in stored(desk).plan_runs() if run.name == name)


def choose(desk: PanelPage, name: str) -> None:
    """Choose a plan, and wait until it is shown."""
    choice = desk.panel.get_by_label("Plan", exact=True)
    expect(choice.locator("option", has_text=name)).to_have_count(1, timeout=WAIT)
    names = [text.replace("\xa0", " ") for text in choice.locator("option").all_text_contents()]
    choice.select_option(
        index=next(index for index, text in enumerate(names) if text.startswith(name))
    )
    expect(desk.panel.get_by_role("group", name="plan").first).to_contain_text(name, timeout=WAIT)


def button(desk: PanelPage, name: str) -> Locator:
    return desk.panel.get_by_role("button", name=name, exact=True).locator("visible=true")


def says(desk: PanelPage, state: str, text: str | re.Pattern[str] = "") -> Locator:
    """What the panel says in a state, once it does."""
    found = desk.panel.locator(f".tt-notice[data-state={state}]:visible").filter(has_text=text)
    expect(found).to_be_visible(timeout=WAIT)
    return found


def turn_to(desk: PanelPage, tab: str) -> None:
    desk.panel.get_by_role("tab", name=tab, exact=True).click()


def test_apply_once_see_what_is_stale_and_revert(desk: PanelPage) -> None:
    apply, revert = button(desk, "Apply"), button(desk, "Revert")
    choose(desk, HOSTILE)
    assert desk.panel.locator("img").count() == 0
    expect(desk.panel.get_by_role("group", name="preview")).to_contain_text(HOSTILE)
    desk.keep("hostile")
    choose(desk, CHEAPER)
    name = desk.panel.get_by_label("Plan's name")
    name.fill(CHEAPER[:-1])
    expect(desk.panel.get_by_text("To apply: type the plan's name as it is shown.")).to_be_visible()
    expect(apply).to_be_disabled()
    name.fill(CHEAPER)
    expect(apply).to_be_enabled(timeout=WAIT)
    desk.keep("ready")
    apply.dblclick()
    expect(says(desk, "done", "Applied")).to_contain_text("entry 0 of the chain")
    expect(desk.panel.get_by_role("group", name="entry")).to_contain_text(
        "entry 0 of the audit chain: plan.applied"
    )
    expect(desk.panel.locator("option", has_text=CHEAPER)).to_contain_text("applied", timeout=WAIT)
    expect(revert).to_be_disabled()
    desk.keep("applied")
    workspace = stored(desk)
    (entry,) = workspace.entries()
    assert str(ttplan.User.named("ada@example.com").user_id).encode() in entry.body
    assert workspace.get(plan_id(desk, CHEAPER)).status == "applied"
    assert len(workspace.routes()) == 3

    choose(desk, HAIKU)
    says(desk, "stale", "3 live routes have changed since")
    expect(desk.panel.get_by_role("group", name="preview")).to_contain_text(
        "route 'short chat to mini' was added"
    )
    name.fill(HAIKU)
    expect(desk.panel.get_by_text("To apply: tick that you apply a stale plan.")).to_be_visible(
        timeout=WAIT
    )
    expect(apply).to_be_disabled()
    desk.keep("stale")
    desk.panel.get_by_label("apply this stale plan all the same").check()
    expect(apply).to_be_enabled(timeout=WAIT)

    turn_to(desk, "Routes")
    expect(desk.panel.get_by_role("table", name="live routes")).to_contain_text(
        "code completions to haiku", timeout=WAIT
    )
    desk.keep("routes")
    turn_to(desk, "Chain")
    expect(desk.panel.get_by_text("1 to 1 of 1").locator("visible=true")).to_be_visible(
        timeout=WAIT
    )
    desk.keep("chain")

    desk.run_again()  # the panel keeps nothing: a new one shows what is stored
    choose(desk, CHEAPER)
    expect(desk.panel.locator("option", has_text=CHEAPER)).to_contain_text("· applied ·")
    name.fill(CHEAPER)
    name.press("Tab")  # by keyboard alone: Apply cannot be pressed, so Revert is next
    expect(revert).to_be_enabled(timeout=WAIT)
    revert.focus()
    desk.page.keyboard.press("Enter")
    says(desk, "done", "Reverted")
    desk.keep("reverted")
    assert stored(desk).get(plan_id(desk, CHEAPER)).status == "reverted"
    assert len(stored(desk).routes()) == 0


def cancelled_in_time(desk: PanelPage) -> bool:
    """Wait for the store and end the wait; False where the machine is so slow that it was waited
    for in vain before."""
    ended = desk.panel.locator("[data-state=cancelled], [data-state=locked]")
    button(desk, "Refresh").click()
    expect(ended).to_have_count(0, timeout=WAIT)  # what was said before is gone
    button(desk, "Cancel").click(force=True)
    expect(ended).to_contain_text("nothing was written", timeout=WAIT, ignore_case=True)
    return ended.get_attribute("data-state") == "cancelled"


def seen_in_time(desk: PanelPage) -> bool:
    """Wait for the store and see that this is said; False where the machine is so slow that it is
    over before."""
    button(desk, "Refresh").click()
    expect(desk.panel.locator("[data-state=cancelled], [data-state=locked]")).to_have_count(
        0, timeout=WAIT
    )
    told = desk.panel.locator(
        ".tt-notice[data-state=waiting], .tt-notice[data-state=locked]"
    ).locator("visible=true")
    expect(told).to_contain_text(f"process {os.getpid()} ", timeout=WAIT)
    if told.get_attribute("data-state") != "waiting":
        return False
    desk.keep("waiting", busy=True)
    return True


def test_others_on_the_same_store(desk: PanelPage) -> None:
    apply = button(desk, "Apply")
    choose(desk, CHEAPER)
    desk.panel.get_by_label("Plan's name").fill(CHEAPER)
    expect(apply).to_be_enabled(timeout=WAIT)
    other = stored(desk)
    other.apply(plan_id(desk, HAIKU))
    apply.click()
    says(desk, "changed", "Other routes are live now, so the plan is stale. Nothing was written.")
    says(desk, "stale", "1 live route has changed since")
    desk.keep("changed")
    assert [run.status for run in other.plan_runs()] == ["projected", "applied", "projected"]
    with duckdb.connect(desk.store):  # this process has the file, and the panel is in another
        assert any(cancelled_in_time(desk) for _ in range(5))
        assert any(seen_in_time(desk) for _ in range(5))
        says(desk, "locked", f"in use by process {os.getpid()} ")
        expect(desk.panel.get_by_text("The plan could not be read.")).to_be_visible()
        desk.keep("locked")
    button(desk, "Refresh").click()
    says(desk, "stale", "1 live route has changed since")
    expect(desk.panel.locator("[data-state=locked]")).to_have_count(0)


def test_verify(desk: PanelPage) -> None:
    other = stored(desk)
    for name in (HAIKU, CHEAPER):
        entry = other.apply(plan_id(desk, name), allow_stale=True, actor=ttplan.System())
    desk.panel.get_by_role("tab", name="Plans", exact=True).focus()  # by keyboard
    desk.page.keyboard.press("ArrowRight")
    desk.page.keyboard.press("Enter")
    key, anchor, verify = (
        desk.panel.get_by_label("Public key"),
        desk.panel.get_by_label("Anchor"),
        button(desk, "Verify"),
    )
    verify.click()
    says(desk, "own-key", "Consistent with its own key")
    desk.keep("own-key")
    key.fill("d04ab2")
    verify.click()
    says(desk, "input", "64 hex digits")
    key.fill(KEY.public_key.hex)
    anchor.fill(f"{entry.seq}:{entry.hash}")
    verify.click()
    says(desk, "verified", "Verified: 2 entries, and the chain ends at its anchor")
    desk.keep("verified")
    anchor.fill(f"{entry.seq + 1}:{entry.hash}")
    verify.click()
    says(desk, "broken", "this is not the anchor's chain")
    desk.keep("truncated")
    with duckdb.connect(desk.store) as forger:
        forger.execute(
            "UPDATE audit_entries SET body = replace(body, '41.371399', '413.71399') WHERE seq = 1"
        )
    anchor.fill("")
    verify.click()
    says(desk, "broken", "entry 1")
    desk.keep("broken")
