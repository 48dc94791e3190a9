"""What is fuzzed for long elsewhere: here the good files, the corpus that was found, and a few changes of both."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.run import CORPUS, SMALL, mutated, seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_a_few_changes_of_it_are_read_or_refused(name: str) -> None:
    chance = random.Random(7)
    for data in seeds(name):
        TARGETS[name].run(data)
        TARGETS[name].run(mutated(data, chance))
    for _ in range(50):
        TARGETS[name].run(mutated(chance.choice(TARGETS[name].seeds), chance))


def test_the_corpus_is_of_known_targets_and_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert max(sizes) <= SMALL
    assert sum(sizes) < 300_000


def test_a_target_that_fails_says_on_which_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.fuzz import run

    def fails(data: bytes) -> None:
        raise AssertionError

    monkeypatch.setitem(TARGETS, "note", TARGETS["note"]._replace(run=fails))
    with pytest.raises(AssertionError):
        run.at_random("note", 5)
    path = Path(capsys.readouterr().err.split(" fails on ")[1].strip())
    assert path.read_bytes()
    path.unlink()
