"""The same panel as a page of its own."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import SHOTS, WAIT, copied, free_port, serving

pytestmark = pytest.mark.browser


def test_the_panel_is_a_page_under_voila(browser: Browser, tmp_path: Path) -> None:
    store, token, port = copied(tmp_path), secrets.token_hex(16), free_port()

    def is_up() -> bool:  # the port alone: each load of the page runs the notebook
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    notebook = str(store.parent.parent / "panel.ipynb")
    arguments = [
        "voila",
        notebook,
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        f"--port={port}",
        f"--token={token}",
    ]
    context = browser.new_context(viewport={"width": 1280, "height": 1400}, reduced_motion="reduce")
    with serving(tmp_path, arguments, is_up):
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/?token={token}&theme=dark", timeout=4 * WAIT)
        panel = page.locator(".tt-panel")
        expect(panel.get_by_role("group", name="plan")).to_contain_text("saves", timeout=WAIT)
        panel.get_by_label("Plan's name").fill("cheaper models for short chat and code")
        expect(panel.get_by_role("button", name="Apply", exact=True)).to_be_enabled(timeout=WAIT)
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / "voila-dark.png", animations="disabled", full_page=True)
    context.close()
