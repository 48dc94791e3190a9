"""One fast browser test: the panel opens in JupyterLab and applies a plan."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WAIT, PanelPage
from tests.browser.test_panel import CHEAPER, button, choose, plan_id, says, stored

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("opened", ["light"], indirect=True)
def test_the_panel_opens_and_applies_a_plan(desk: PanelPage) -> None:
    choose(desk, CHEAPER)
    desk.panel.get_by_label("Plan's name").fill(CHEAPER)
    apply = button(desk, "Apply")
    expect(apply).to_be_enabled(timeout=WAIT)
    apply.click()
    says(desk, "done", "Applied")
    assert stored(desk).get(plan_id(desk, CHEAPER)).status == "applied"
