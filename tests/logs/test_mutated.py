"""Files with arbitrary values: every row is used, or counted with a reason."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.logs.generators.calls import lines
from tests.logs.generators.files import FIXTURES
from tests.logs.reading import read
from tests.logs.test_detect import OWNERS

STRANGE: tuple[Any, ...] = (
    *(None, "", -1, 1e308, 10**30, "9" * 400, [], {}, "x", True, [1], {"a": 1}),
    *("\0", "2026-99-99", "NaN", 1.5, "'", '"', "-5", "[", '{"a":'),
)
DOCUMENTS = 40


def mutated(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.04:
        return chance.choice(STRANGE)
    if isinstance(value, dict):
        return {key: mutated(inner, chance) for key, inner in value.items()}
    if isinstance(value, list):
        return [mutated(inner, chance) for inner in value]
    return value


def documents(name: str) -> list[Any]:
    text = gzip.decompress((FIXTURES / name).read_bytes()).decode()
    is_lines = "\n" in text.rstrip("\n")
    whole = list(map(json.loads, text.splitlines())) if is_lines else json.loads(text)
    return whole[:DOCUMENTS] if isinstance(whole, list) else [whole]


@pytest.mark.parametrize("name", [n for n in OWNERS if n.endswith(".gz") and ".csv" not in n])
def test_every_row_is_used_or_counted(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    chance = random.Random(name)
    path.write_text(lines(mutated(document, chance) for document in documents(name)))
    rows, report = read(path, format=OWNERS[name], on_bad_rows="skip", with_bodies=True)
    others = (*report.skipped, *report.not_requests, *report.adjustments)
    assert len(rows) == report.used == report.rows - sum(reason.rows for reason in others)
