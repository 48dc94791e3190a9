"""Compare the corpus verdicts with those of the ecosystem's verifier, as recorded."""

from __future__ import annotations

import json
import re

from tests.audit.corpus import read
from tests.paths import ROOT, VECTORS

THEIRS = {
    row["name"]: row["takes"]
    for row in json.loads((VECTORS / "chains/tt-telemetry-verdicts.json").read_text())
}
OURS = {name: case.verdict.startswith("verified") for name, case in read().items()}
STRICTER_THERE = {"floats-in-the-older-spelling", "rotated", "rotated-at-once"}
"""Chains that ttplan accepts and the peer does not."""


def test_peer_verdicts_cover_the_corpus() -> None:
    assert THEIRS.keys() == OURS.keys()


def test_peer_accepts_what_ttplan_does_with_three_exceptions() -> None:
    assert {name for name, good in OURS.items() if good and not THEIRS[name]} == STRICTER_THERE


def test_docs_name_every_disagreement() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text()
    section = page[page.index("### On which chains of the corpus") :]
    named = set(re.findall(r"`([a-z0-9-]+)`", section)) & OURS.keys()
    assert named == {name for name in OURS if OURS[name] != THEIRS[name]}
