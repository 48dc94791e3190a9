"""The widget that compares answers, without a browser: its controls are used in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tests.display.test_cards import HOSTILE
from ttplan.model.errors import InputError
from ttplan.model.results.verdicts import AnswerPair, Label, Verdict
from ttplan.panel.labelling import Labelling

PAIRS = [
    AnswerPair(UUID(int=1), "one\n  question", "new", "old", new_is_a=True),
    AnswerPair(UUID(int=2), HOSTILE, "old", "new", new_is_a=False),
    AnswerPair(UUID(int=3), "three", HOSTILE, "new", new_is_a=False),
]


def refuse(labels: Sequence[Label]) -> Any:
    raise InputError("the quality check was replaced")


def verdicts(widget: Labelling) -> list[Verdict]:
    return [label.verdict for label in widget.labels]


def test_keys_label_one_pair_after_the_other() -> None:
    widget = Labelling(PAIRS, refuse)
    assert "Pair 1 of 3" in widget.progress.value
    assert widget.keep.disabled
    widget.keys.value = "1"
    assert "Pair 2 of 3" in widget.progress.value
    widget.keys.value = "11x3"
    assert verdicts(widget) == [Verdict.DEGRADED, Verdict.ACCEPTABLE, Verdict.DEGRADED]
    assert "All pairs" in widget.progress.value
    assert all(choice.disabled for choice in widget.choices.values())
    widget.keys.value = "1"
    assert "You said: A is clearly worse" in widget.progress.value
    widget.keys.value = "10"
    assert verdicts(widget) == [Verdict.DEGRADED, Verdict.UNCLEAR, Verdict.DEGRADED]
    assert "You said: B is clearly worse" in widget.progress.value


def test_buttons_do_the_same_and_can_be_focused() -> None:
    widget = Labelling(PAIRS, refuse)
    for worse in ("same", "b"):
        widget.choices[worse].click()
    widget.back.click()
    widget.choices["a"].click()
    assert verdicts(widget) == [Verdict.ACCEPTABLE, Verdict.ACCEPTABLE]
    assert all(choice.tabbable is not False for choice in widget.choices.values())
    assert repr(widget) == "Labelling(2 of 3 pairs labelled)"


def test_texts_are_harmless_and_tell_nothing_of_the_judge() -> None:
    widget = Labelling(PAIRS, refuse)
    assert "one\n  question" in widget.prompt.value
    for keys in ("2", "22"):
        shown = widget.prompt.value + widget.first.value + widget.second.value
        assert "new" in shown
        assert HOSTILE not in shown
        assert "degraded" not in shown + widget.progress.value
        widget.keys.value = keys


def test_a_failure_to_save_is_shown_and_keeps_the_labels() -> None:
    widget = Labelling(PAIRS, refuse)
    widget.keys.value = "2"
    widget.keep.click()
    assert "the quality check was replaced" in widget.outcome.value
    assert len(widget.labels) == 1
    assert "No pairs of answers were kept" in Labelling([], refuse).progress.value
