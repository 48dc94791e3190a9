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


def stored(panel_page: PanelPage) -> ttplan.Workspace:
    """The panel's store, as another process has it."""
    return ttplan.open(panel_page.store, key=KEY, create=False)


def plan_id(panel_page: PanelPage, name: str) -> str:
    return str(stored(panel_page).show(name).plan_id)


def choose(panel_page: PanelPage, name: str) -> None:
    """Choose a plan, and wait until it is shown."""
    choice = panel_page.panel.get_by_label("Plan", exact=True)
    expect(choice.locator("option", has_text=name)).to_have_count(1, timeout=WAIT)
    names = [text.replace("\xa0", " ") for text in choice.locator("option").all_text_contents()]
    choice.select_option(
        index=next(index for index, text in enumerate(names) if text.startswith(name))
    )
    expect(panel_page.panel.get_by_role("group", name="plan").first).to_contain_text(
        name, timeout=WAIT
    )


def button(panel_page: PanelPage, name: str) -> Locator:
    return panel_page.panel.get_by_role("button", name=name, exact=True).locator("visible=true")


def expect_notice(panel_page: PanelPage, state: str, text: str | re.Pattern[str] = "") -> Locator:
    """What the panel says in a state, once it does."""
    notice = panel_page.panel.locator(f".tt-notice[data-state={state}]:visible").filter(
        has_text=text
    )
    expect(notice).to_be_visible(timeout=WAIT)
    return notice


def turn_to(panel_page: PanelPage, tab: str) -> None:
    panel_page.panel.get_by_role("tab", name=tab, exact=True).click()


def test_apply_once_see_what_is_stale_and_revert(panel_page: PanelPage) -> None:
    apply, revert = button(panel_page, "Apply"), button(panel_page, "Revert")
    choose(panel_page, HOSTILE)
    assert panel_page.panel.locator("img").count() == 0
    expect(panel_page.panel.get_by_role("group", name="preview")).to_contain_text(HOSTILE)
    panel_page.keep("hostile")
    choose(panel_page, CHEAPER)
    name = panel_page.panel.get_by_label("Plan's name")
    name.fill(CHEAPER[:-1])
    expect(
        panel_page.panel.get_by_text("To apply: type the plan's name as it is shown.")
    ).to_be_visible()
    expect(apply).to_be_disabled()
    name.fill(CHEAPER)
    expect(apply).to_be_enabled(timeout=WAIT)
    panel_page.keep("ready")
    apply.dblclick()
    expect(expect_notice(panel_page, "done", "Applied")).to_contain_text("entry 0 of the chain")
    expect(panel_page.panel.get_by_role("group", name="entry")).to_contain_text(
        "entry 0 of the audit chain: plan.applied"
    )
    expect(panel_page.panel.locator("option", has_text=CHEAPER)).to_contain_text(
        "applied", timeout=WAIT
    )
    expect(revert).to_be_disabled()
    panel_page.keep("applied")
    workspace = stored(panel_page)
    (entry,) = workspace.entries().to_dict("records")
    assert str(ttplan.User.named("ada@example.com").user_id) in entry["actor"]
    assert workspace.show(plan_id(panel_page, CHEAPER)).status == "applied"
    assert len(workspace.routes()) == 3

    choose(panel_page, HAIKU)
    expect_notice(panel_page, "stale", "3 live routes have changed since")
    expect(panel_page.panel.get_by_role("group", name="preview")).to_contain_text(
        "route 'short chat to mini' was added"
    )
    name.fill(HAIKU)
    expect(
        panel_page.panel.get_by_text("To apply: tick that you apply a stale plan.")
    ).to_be_visible(timeout=WAIT)
    expect(apply).to_be_disabled()
    panel_page.keep("stale")
    panel_page.panel.get_by_label("apply this stale plan all the same").check()
    expect(apply).to_be_enabled(timeout=WAIT)

    turn_to(panel_page, "Routes")
    expect(panel_page.panel.get_by_role("table", name="live routes")).to_contain_text(
        "code completions to haiku", timeout=WAIT
    )
    panel_page.keep("routes")
    turn_to(panel_page, "Chain")
    expect(panel_page.panel.get_by_text("1 to 1 of 1").locator("visible=true")).to_be_visible(
        timeout=WAIT
    )
    panel_page.keep("chain")

    panel_page.run_again()  # the panel keeps nothing: a new one shows what is stored
    choose(panel_page, CHEAPER)
    expect(panel_page.panel.locator("option", has_text=CHEAPER)).to_contain_text("· applied ·")
    name.fill(CHEAPER)
    name.press("Tab")  # by keyboard alone: Apply cannot be pressed, so Revert is next
    expect(revert).to_be_enabled(timeout=WAIT)
    revert.focus()
    panel_page.page.keyboard.press("Enter")
    expect_notice(panel_page, "done", "Reverted")
    panel_page.keep("reverted")
    assert stored(panel_page).show(plan_id(panel_page, CHEAPER)).status == "reverted"
    assert len(stored(panel_page).routes()) == 0


def cancelled_in_time(panel_page: PanelPage) -> bool:
    """Wait for the store and end the wait; False where the machine is so slow that it was waited
    for in vain before."""
    ended = panel_page.panel.locator("[data-state=cancelled], [data-state=locked]")
    button(panel_page, "Refresh").click()
    expect(ended).to_have_count(0, timeout=WAIT)  # what was said before is gone
    button(panel_page, "Cancel").click(force=True)
    expect(ended).to_contain_text("nothing was written", timeout=WAIT, ignore_case=True)
    return ended.get_attribute("data-state") == "cancelled"


def seen_in_time(panel_page: PanelPage) -> bool:
    """Wait for the store and see that this is said; False where the machine is so slow that it is
    over before."""
    button(panel_page, "Refresh").click()
    expect(panel_page.panel.locator("[data-state=cancelled], [data-state=locked]")).to_have_count(
        0, timeout=WAIT
    )
    notice = panel_page.panel.locator(
        ".tt-notice[data-state=waiting], .tt-notice[data-state=locked]"
    ).locator("visible=true")
    expect(notice).to_contain_text(f"process {os.getpid()} ", timeout=WAIT)
    if notice.get_attribute("data-state") != "waiting":
        return False
    panel_page.keep("waiting", busy=True)
    return True


def test_others_on_the_same_store(panel_page: PanelPage) -> None:
    apply = button(panel_page, "Apply")
    choose(panel_page, CHEAPER)
    panel_page.panel.get_by_label("Plan's name").fill(CHEAPER)
    expect(apply).to_be_enabled(timeout=WAIT)
    other = stored(panel_page)
    other.apply(plan_id(panel_page, HAIKU))
    apply.click()
    expect_notice(
        panel_page,
        "changed",
        "Other routes are live now, so the plan is stale. Nothing was written.",
    )
    expect_notice(panel_page, "stale", "1 live route has changed since")
    panel_page.keep("changed")
    assert list(other.plans()["status"]) == ["projected", "applied", "projected"]
    with duckdb.connect(panel_page.store):  # this process has the file, and the panel is in another
        assert any(cancelled_in_time(panel_page) for _ in range(5))
        assert any(seen_in_time(panel_page) for _ in range(5))
        expect_notice(panel_page, "locked", f"in use by process {os.getpid()} ")
        expect(panel_page.panel.get_by_text("The plan could not be read.")).to_be_visible()
        panel_page.keep("locked")
    button(panel_page, "Refresh").click()
    expect_notice(panel_page, "stale", "1 live route has changed since")
    expect(panel_page.panel.locator("[data-state=locked]")).to_have_count(0)


def test_verify(panel_page: PanelPage) -> None:
    other = stored(panel_page)
    for name in (HAIKU, CHEAPER):
        entry = other.apply(plan_id(panel_page, name), allow_stale=True, actor=ttplan.System())
    panel_page.panel.get_by_role("tab", name="Plans", exact=True).focus()  # by keyboard
    panel_page.page.keyboard.press("ArrowRight")
    panel_page.page.keyboard.press("Enter")
    key, anchor, verify = (
        panel_page.panel.get_by_label("Public key"),
        panel_page.panel.get_by_label("Anchor"),
        button(panel_page, "Verify"),
    )
    verify.click()
    expect_notice(panel_page, "own-key", "Consistent with its own key")
    panel_page.keep("own-key")
    key.fill("d04ab2")
    verify.click()
    expect_notice(panel_page, "input", "64 hex digits")
    key.fill(KEY.public_key.hex)
    anchor.fill(f"{entry.seq}:{entry.hash}")
    verify.click()
    expect_notice(panel_page, "verified", "Verified: 2 entries, and the chain ends at its anchor")
    panel_page.keep("verified")
    anchor.fill(f"{entry.seq + 1}:{entry.hash}")
    verify.click()
    expect_notice(panel_page, "broken", "this is not the anchor's chain")
    panel_page.keep("truncated")
    with duckdb.connect(panel_page.store) as forger:
        forger.execute(
            "UPDATE audit_entries SET body = replace(body, '41.283385', '412.83385') WHERE seq = 1"
        )
    anchor.fill("")
    verify.click()
    expect_notice(panel_page, "broken", "entry 1")
    panel_page.keep("broken")
