"""Folders that tests read from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
DOCS = ROOT / "docs"
TESTS = ROOT / "tests"
VECTORS = TESTS / "vectors"
