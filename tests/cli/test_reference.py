"""The generated reference of the command line is current."""

from __future__ import annotations

from scripts.make_cli_reference import PAGE, render_reference


def test_the_cli_reference_is_current() -> None:
    assert PAGE.read_text() == render_reference(), "run python scripts/make_cli_reference.py"
