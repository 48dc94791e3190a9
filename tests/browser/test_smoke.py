"""One fast browser test: the panel opens in JupyterLab and applies a plan."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WAIT, PanelPage
from tests.browser.test_panel import CHEAPER, button, choose, expect_notice, plan_id, stored

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("opened", ["light"], indirect=True)
def test_the_panel_opens_and_applies_a_plan(panel_page: PanelPage) -> None:
    choose(panel_page, CHEAPER)
    panel_page.panel.get_by_label("Plan's name").fill(CHEAPER)
    apply = button(panel_page, "Apply")
    expect(apply).to_be_enabled(timeout=WAIT)
    apply.click()
    expect_notice(panel_page, "done", "Applied")
    assert stored(panel_page).show(plan_id(panel_page, CHEAPER)).status == "applied"
