"""A short run of the fuzz targets: good files, the corpus, and a few mutations of both."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.run import CORPUS, SMALL, mutated, seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_its_mutations_are_read_or_refused(name: str) -> None:
    rng = random.Random(7)
    for data in seeds(name):
        TARGETS[name].run(data)
        TARGETS[name].run(mutated(data, rng))
    for _ in range(50):
        TARGETS[name].run(mutated(rng.choice(TARGETS[name].seeds), rng))


def test_corpus_has_known_targets_and_is_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert max(sizes) <= SMALL
    assert sum(sizes) < 300_000


def test_failing_target_names_its_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.fuzz import run

    def fails(data: bytes) -> None:
        raise AssertionError

    monkeypatch.setitem(TARGETS, "note", TARGETS["note"]._replace(run=fails))
    with pytest.raises(AssertionError):
        run.fuzz_at_random("note", 5)
    path = Path(capsys.readouterr().err.split(" fails on ")[1].strip())
    assert path.read_bytes()
    path.unlink()
