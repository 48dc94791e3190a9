"""The order in which assumptions apply."""

from __future__ import annotations

from typing import Any

from ttplan.model.projection.assumption import Assumption
from ttplan.operations.plans.assumptions import collect_assumptions


def ratio(value: float, source: Any = "user", **scope: str) -> Assumption:
    return Assumption.model_validate(
        {"name": "ratio_out", "value": value, "source": source, **scope}
    )


PAIR = {"source_model": "a", "target_model": "b"}


def test_user_precedes_rollout_precedes_judged() -> None:
    user, rollout, judged = ratio(1), ratio(2, "rollout", **PAIR), ratio(3, "judged", **PAIR)
    assert collect_assumptions([], [rollout], [judged]) == (rollout,)
    assert collect_assumptions([user], [rollout], [judged]) == (user,)
    other = ratio(3, "judged", source_model="c", target_model="b")
    assert collect_assumptions([], [rollout], [judged, other]) == (rollout, other)


def test_the_more_specific_of_one_source_comes_first() -> None:
    general, pair = ratio(1, target_model="b"), ratio(2, **PAIR)
    routed = ratio(3, route="r", **PAIR)
    assert collect_assumptions([general, pair, routed]) == (routed, pair, general)


def test_the_first_of_equal_subjects_wins() -> None:
    assert collect_assumptions([ratio(1), ratio(2)]) == (ratio(1),)


def test_an_assumption_of_another_name_is_kept() -> None:
    redo = Assumption(name="redo", value=0.1, source="judged", **PAIR)
    assert collect_assumptions([ratio(1)], [], [redo]) == (ratio(1), redo)


def test_a_narrower_user_value_does_not_hide_a_measured_one() -> None:
    routed, judged = ratio(1, route="r"), ratio(2, "judged", **PAIR)
    both = ratio(1, route="r", **PAIR)
    assert collect_assumptions([routed], [], [judged]) == (routed, both, judged)
    assert collect_assumptions([routed, both], [], [judged]) == (both, routed, judged)
    elsewhere = ratio(1, target_model="c")
    assert collect_assumptions([elsewhere], [], [judged]) == (elsewhere, judged)


def test_a_model_of_one_provider_is_the_measured_model() -> None:
    given, judged = ratio(1, target_model="openai:b"), ratio(2, "judged", **PAIR)
    both = ratio(1, source_model="a", target_model="openai:b")
    assert collect_assumptions([given], [], [judged]) == (given, both, judged)
