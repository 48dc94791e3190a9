"""A person at the panel, in both themes: what is clicked, what is then stored, and what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import duckdb
import pytest
from playwright.sync_api import Locator, expect

import ttplan
from tests.browser.conftest import WAIT, Desk
from ttplan.audit.keys import key_from_hex

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"
CHEAPER = "cheaper models for short chat and code"
KEY = key_from_hex("11" * 32)


def stored(desk: Desk) -> ttplan.Workspace:
    """The panel's store as any other process sees it."""
    return ttplan.open(desk.store, key=KEY, create=False)


def choose(desk: Desk, name: str) -> None:
    """Choose a plan and wait for its card."""
    desk.panel.get_by_label("Plan", exact=True).select_option(label=re.compile("^" + re.escape(name)))
    expect(desk.panel.locator(".ttplan-card").first).to_contain_text(name, timeout=WAIT)


def confirm(desk: Desk, name: str) -> None:
    desk.panel.get_by_label("Plan's name").fill(name)


def button(desk: Desk, name: str) -> Locator:
    return desk.panel.get_by_role("button", name=name, exact=True).locator("visible=true")


def says(desk: Desk, state: str) -> Locator:
    """The place where the panel says that it is in a state, once it does."""
    found = desk.panel.locator(f"[data-state={state}]:visible")
    expect(found).to_be_visible(timeout=WAIT)
    return found


def test_try(desk: Desk) -> None:
    desk.page.wait_for_timeout(1500)
    desk.keep("first")
    desk.page.screenshot(path=f"/tmp/w/panel-page-{desk.theme}.png")
    print(desk.panel.get_by_label("Plan", exact=True).evaluate("e => e.outerHTML"))
    print(desk.panel.inner_text())
