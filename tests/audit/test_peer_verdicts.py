"""What the ecosystem's own verifier says of the corpus, as `benchmarks.peer.chains` kept it, beside what ours says."""

from __future__ import annotations

import json
import re

from tests.audit.corpus import read
from tests.paths import ROOT, VECTORS

THEIRS = {
    one["name"]: one["takes"]
    for one in json.loads((VECTORS / "chains/tt-telemetry-verdicts.json").read_text())
}
OURS = {name: case.verdict.startswith("verified") for name, case in read().items()}
STRICTER_THERE = {"floats-in-the-older-spelling", "rotated", "rotated-at-once"}
"""What we take and it does not."""


def test_it_was_asked_of_every_chain_of_the_corpus() -> None:
    assert THEIRS.keys() == OURS.keys()


def test_what_we_take_it_takes_but_for_rotations_and_one_spelling() -> None:
    assert {name for name, good in OURS.items() if good and not THEIRS[name]} == STRICTER_THERE


def test_the_docs_name_every_chain_on_which_the_two_disagree() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text()
    section = page[page.index("### On which chains of the corpus") :]
    named = set(re.findall(r"`([a-z0-9-]+)`", section)) & OURS.keys()
    assert named == {name for name in OURS if OURS[name] != THEIRS[name]}
