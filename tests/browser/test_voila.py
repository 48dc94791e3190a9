"""The widgets as pages of their own."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SHOTS, WAIT, copied, free_port, serving

pytestmark = pytest.mark.browser


LABELLING = """
from uuid import UUID
from ttplan.model.results.verdicts import AnswerPair
from ttplan.panel.labelling import Labelling

pairs = [
    AnswerPair(UUID(int=n), f"prompt {n}", "first\\n  indented", "second", n % 2 == 0)
    for n in range(1, 31)
]
Labelling(pairs, lambda labels: None)
"""


@contextmanager
def voila(browser: Browser, home: Path, notebook: Path) -> Iterator[Page]:
    """A page of a notebook under Voila, in the dark theme."""
    token, port = secrets.token_hex(16), free_port()

    def is_up() -> bool:  # the port alone: each load of the page runs the notebook
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    arguments = [
        "voila",
        str(notebook),
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        f"--port={port}",
        f"--token={token}",
    ]
    context = browser.new_context(viewport={"width": 1280, "height": 1400}, reduced_motion="reduce")
    with serving(home, arguments, is_up):
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/?token={token}&theme=dark", timeout=4 * WAIT)
        yield page
    context.close()


def test_the_panel_is_a_page_under_voila(browser: Browser, tmp_path: Path) -> None:
    store = copied(tmp_path)
    with voila(browser, tmp_path, store.parent.parent / "panel.ipynb") as page:
        panel = page.locator(".tt-panel")
        expect(panel.get_by_role("group", name="plan")).to_contain_text("saves", timeout=WAIT)
        panel.get_by_label("Plan's name").fill("cheaper models for short chat and code")
        expect(panel.get_by_role("button", name="Apply", exact=True)).to_be_enabled(timeout=WAIT)
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / "voila-dark.png", animations="disabled", full_page=True)


def test_answers_are_labelled_with_the_keyboard(browser: Browser, tmp_path: Path) -> None:
    notebook = tmp_path / "labels.ipynb"
    cell: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "labels",
        "metadata": {},
        "outputs": [],
        "source": LABELLING,
    }
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook.write_text(json.dumps(content))
    with voila(browser, tmp_path, notebook) as page:
        panel = page.locator(".tt-panel")
        expect(panel).to_contain_text("Pair 1 of 30", timeout=WAIT)
        keys = panel.get_by_label("Keys")
        keys.press_sequentially("1320", delay=20)
        expect(panel).to_contain_text("Pair 5 of 30", timeout=WAIT)
        keys.press("Backspace")
        expect(panel).to_contain_text("Pair 4 of 30", timeout=WAIT)
        expect(panel).to_contain_text("You said: cannot tell")
        panel.get_by_role("button", name="1: A is clearly worse").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(panel).to_contain_text("Pair 5 of 30", timeout=WAIT)
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / "labels-dark.png", animations="disabled", full_page=True)
