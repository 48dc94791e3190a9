"""JupyterLab on this machine's own address, and Debian's chromium without a window: what a person
at the panel has."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

from tests.paths import ROOT

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SHOTS = ROOT / "build" / "screenshots"
"""Where the screenshots of a run are kept, to be looked at."""
THEMES = ("light", "dark")
WAIT = 60_000
"""Milliseconds until something that does not show has failed."""
# Nothing outside this machine is reached: a page that needed it would fail here.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# No toasts over the page; the theme is what the browser prefers; a panel out of view can be
# clicked; no dialogs about files.
SETTINGS: dict[str, dict[str, object]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"adaptive-theme": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
# Nothing of the user's own Jupyter is read or written.
FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "run",
    "IPYTHONDIR": "ipython",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
}
READY = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady"
SET_UP_CELL, PANEL_CELL = 1, 5
LIMIT = "new Promise(done => setTimeout(done, 240000, 0))"  # `evaluate` itself waits for ever
RUN = f"() => Promise.race([window.jupyterapp.commands.execute('notebook:run-all-cells'), {LIMIT}])"
RUN_ONE = f"""index => {{
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
  const ran = window.jupyterapp.commands.execute('notebook:run-cell').then(() => true);
  return Promise.race([ran, {LIMIT}]);
}}"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none the tests are left out, or fail, where TTPLAN_REQUIRE_BROWSER
    is set."""
    if not Path(CHROMIUM).exists():
        why = f"no browser at {CHROMIUM}: install Debian's chromium, or name another in CHROMIUM"
        if os.environ.get("TTPLAN_REQUIRE_BROWSER"):
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(home: Path, arguments: list[str], is_up: Callable[[], bool]) -> Iterator[None]:
    """A Jupyter program with folders of its own, from when `is_up` until the end of the block."""
    environment = (
        os.environ
        | {name: f"{home}/{folder}" for name, folder in FOLDERS.items()}
        | {"PYTHONPATH": str(ROOT)}
    )
    log = home / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            cwd=home,
        )
        try:
            ends = time.monotonic() + 120
            while not is_up():
                if server.poll() is not None or time.monotonic() > ends:
                    pytest.fail(log.read_text())
                time.sleep(0.1)
            yield
        finally:
            server.terminate()  # it ends its kernels, too
            server.wait(30)


class Lab(NamedTuple):
    """A running JupyterLab: its address, its token, and the folder that it serves."""

    url: str
    token: str
    root: Path


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab for all tests."""
    home, token, port = tmp_path_factory.mktemp("lab"), secrets.token_hex(16), free_port()
    for name, value in SETTINGS.items():
        file = home / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    (home / "root").mkdir()
    url = f"http://127.0.0.1:{port}"
    arguments = [
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={home}/root",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
    ]
    with serving(home, arguments, lambda: _answers(f"{url}/api/status?token={token}")):
        yield Lab(url, token, home / "root")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
    except OSError:
        return False
    return True


def copied(root: Path) -> Path:
    """A new folder with the panel's notebook and the data that it reads; where its store will
    be."""
    folder = root / secrets.token_hex(4)
    (folder / "notebooks").mkdir(parents=True)
    (folder / "data").mkdir()
    for name in ("data/requests.parquet", "data/routes.yaml", "notebooks/panel.ipynb"):
        shutil.copy(ROOT / name, folder / name)
    return folder / "notebooks" / "panel-example" / "plans.duckdb"


class PanelPage(NamedTuple):
    """A panel in a page: where its store is, the page, and the panel in it."""

    store: Path
    page: Page
    panel: Locator
    theme: str

    def run_again(self) -> None:
        """Run the cell of the panel again."""
        assert self.page.evaluate(RUN_ONE, PANEL_CELL) is True

    def keep(self, name: str, *, busy: bool = False) -> None:
        """Keep a picture of the panel, once nothing is under way, or, with `busy`, as it is."""
        if not busy:
            for cancel in (
                self.panel.get_by_role("button", name="Cancel").locator("visible=true").all()
            ):
                expect(cancel).to_be_disabled(timeout=WAIT)
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.panel.screenshot(path=SHOTS / f"{name}-{self.theme}.png", animations="disabled")


class Opened(NamedTuple):
    """The notebook in a page, in one theme, and what has gone wrong there."""

    store: Path
    page: Page
    theme: str
    wrong: list[str]


@pytest.fixture(scope="session", params=THEMES)
def opened(request: pytest.FixtureRequest, lab: Lab, browser: Browser) -> Iterator[Opened]:
    """The notebook `panel` in JupyterLab in probe theme, with a kernel that is ready."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 1400},
        color_scheme=request.param,
        reduced_motion="reduce",
    )
    page, wrong = context.new_page(), list[str]()

    def refused(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", refused)
    store = copied(lab.root)
    notebook = (store.parent.parent / "panel.ipynb").relative_to(lab.root)
    page.goto(f"{lab.url}/doc/tree/{notebook}?token={lab.token}&reset", timeout=2 * WAIT)
    page.wait_for_function(READY, timeout=2 * WAIT)
    yield Opened(store, page, request.param, wrong)
    context.close()


@pytest.fixture
def panel_page(opened: Opened, lab: Lab) -> Iterator[PanelPage]:
    """The panel over the plans of the notebook. An error of the page fails the test, and so does a
    dialog.

    Importing and planning take their time: they are done once, and every later test has a copy of
    that store."""
    page, kept = opened.page, lab.root.parent / "kept.duckdb"
    made = PanelPage(opened.store, page, page.locator(".tt-panel"), opened.theme)
    if kept.exists():
        assert page.evaluate(RUN_ONE, SET_UP_CELL) is True
        shutil.copy(kept, opened.store)
        made.run_again()
    else:
        assert page.evaluate(RUN) is True, page.locator(".jp-OutputArea-output").all_inner_texts()
        expect(made.panel.locator("option")).to_have_count(3, timeout=WAIT)  # nothing is under way
        shutil.copy(opened.store, kept)
    yield made
    assert not opened.wrong
