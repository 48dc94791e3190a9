"""Plans that people write."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid5

import pytest

from tests.paths import DATA
from ttplan.gateways.plan_file import NAMESPACE, plan_yaml, read_plan_file, write_plan_file
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig, Projection
from ttplan.model.projection.assumption import Assumption

GOOD = "routes:\n- {name: a, priority: 1, when: {tag_equals: x}, then: {target_model: m}}\n"


def test_the_example_plan_is_read() -> None:
    routes, config, _ = read_plan_file(DATA / "routes.yaml")
    assert [route.name for route in routes] == [
        "short chat to mini",
        "code completions to haiku",
        "expensive chat to haiku",
    ]
    assert config is None


def test_a_sticky_route_is_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD.replace("name: a", "name: a, sticky: session"))
    routes, _, _ = read_plan_file(path)
    assert routes[0].sticky == "session"
    write_plan_file(path, routes, overwrite=True)
    assert read_plan_file(path).routes == routes
    assert "sticky: session" in plan_yaml(routes)
    plain = routes[0].model_copy(update={"sticky": None})
    assert "sticky" not in plan_yaml([plain])


@pytest.mark.parametrize("projection", ["full", "reference"])
def test_a_projection_that_is_named_stays_named(tmp_path: Path, projection: Projection) -> None:
    path = tmp_path / "plan.yaml"
    named = f"config: {{projection: {projection}, prices_at: plan, session: user_id}}\n"
    path.write_text(GOOD + named)
    routes, config, _ = read_plan_file(path)
    assert config == PlanConfig(projection=projection, prices_at="plan", session="user_id")
    assert config is not None
    assert config.model_fields_set == {"projection", "prices_at", "session"}
    write_plan_file(path, routes, config, overwrite=True)
    again = read_plan_file(path).config
    assert again is not None
    assert again == config
    assert again.model_fields_set == config.model_fields_set


def test_a_projection_that_is_not_named_is_not_set(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD + "config: {l1_ttl_seconds: 60}\n")
    config = read_plan_file(path).config
    assert config is not None
    assert config.model_fields_set == {"l1_ttl_seconds"}
    assert "projection" not in plan_yaml([], config)


def test_routes_without_an_id_get_one_of_their_name(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        GOOD
        + "- {id: r7, name: b, priority: 1, then: {target_model: m}}\n"
        + "config: {l1_ttl_seconds: 60}\n"
    )
    routes, config, _ = read_plan_file(path)
    assert [route.id for route in routes] == [uuid5(NAMESPACE, "a"), uuid5(NAMESPACE, "r7")]
    assert config is not None
    assert config.l1_ttl_seconds == 60


def test_an_id_that_is_a_uuid_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD.replace("name: a", f"id: {UUID(int=7)}, name: a"))
    assert read_plan_file(path).routes[0].id == UUID(int=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routes: 7", "expected a list of routes"),
        ("[]", "expected a list of routes"),
        (GOOD + "rules: []", "the key 'rules' is not known"),
        ("routes: [7]", "route 1: expected id, name"),
        (
            GOOD.replace("tag_equals", "tag_equal"),
            r"route 1 \('a'\): when.tag_equal: this key is not known",
        ),
        (GOOD.replace("priority: 1", "priority: -1"), r"route 1 \('a'\): priority"),
        (GOOD.replace("priority: 1", "priority: 1.5"), r"route 1 \('a'\): priority"),
        (
            GOOD.replace("then: {target_model: m}", "then: {}"),
            "then.target_model: this key is missing",
        ),
        (
            GOOD + "- {id: other, name: a, priority: 2, then: {target_model: m}}",
            "two routes have the name 'a'",
        ),
        (GOOD + "config: {ttl: 1}", "config: ttl: this key is not known"),
        (GOOD + "config: {projection: exact}", "config: projection: .*'reference' or 'full'"),
        (GOOD + "config: {prices_at: now}", "config: prices_at: .*'request' or 'plan'"),
        (GOOD + "config: {session: a b}", "config: session: "),
        (
            GOOD.replace("name: a", "name: a, sticky: user"),
            r"route 1 \('a'\): sticky: .*'session'",
        ),
        (GOOD.replace("name: a", "name: a, sticky: true"), r"route 1 \('a'\): sticky: "),
        (GOOD + "assumptions: 7", "expected a list under the key assumptions"),
        (GOOD + "assumptions: [7]", "assumption 1: expected name and value"),
        (GOOD + "assumptions: [{name: x, value: 1}]", r"assumption 1 \('x'\): name: Input should"),
        (GOOD + "assumptions: [{name: redo}]", "the whole: expected a value"),
        (GOOD + "assumptions: [{name: redo, value: 2}]", "redo is 2.000000; expected 0 to 1"),
        (GOOD + "assumptions: [{name: redo, value: x}]", "assumption 1 .*: value: 'x' is not a"),
        (
            GOOD + "assumptions: [{name: redo, value: 0, source: log}]",
            "source: this key is not known",
        ),
        (
            GOOD + "assumptions: [{name: redo, value: 0, route: b}]",
            "route: no route is called 'b'",
        ),
        (
            GOOD + "assumptions: [{name: redo, value: 0}, {name: redo, value: 1}]",
            r"assumption 2 \('redo'\): assumption 1 is about the same",
        ),
    ],
)
def test_a_plan_that_cannot_be_used_names_route_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_plan_file(path)
    assert str(path) in str(caught.value)


def test_assumptions_are_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        GOOD
        + "assumptions:\n"
        + "- {name: ratio_out, value: 1.6, standard_error: 0.05, target_model: m, route: a}\n"
        + "- {name: price_factor, scope: gateway, note: the margin}\n"
    )
    plan = read_plan_file(path)
    assert plan.assumptions == (
        Assumption(name="ratio_out", value=1.6, standard_error=0.05, target_model="m", route="a"),
        Assumption(name="price_factor", scope="gateway", note="the margin"),
    )
    written = tmp_path / "written.yaml"
    write_plan_file(written, *plan)
    assert read_plan_file(written) == plan


def test_a_measured_assumption_is_the_users_once_written() -> None:
    measured = Assumption(name="redo", value=0.125, source="judged", note="40 paired answers")
    text = plan_yaml((), None, [measured])
    assert "judged" not in text
    assert "40 paired answers" in text
