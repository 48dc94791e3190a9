"""The generated reference of the command line is current."""

from __future__ import annotations

import runpy

from tests.paths import ROOT


def test_the_cli_reference_is_current() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_cli_reference.py"))
    assert script["PAGE"].read_text() == script["render_reference"](), (
        "run python scripts/make_cli_reference.py"
    )
