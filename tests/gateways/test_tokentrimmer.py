"""TokenTrimmer's routes: written, and read back the same."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from tests.support import plans, strategies
from ttplan.gateways.read_tokentrimmer import from_tokentrimmer
from ttplan.gateways.rendered import encode_routes_file
from ttplan.gateways.tokentrimmer import to_tokentrimmer
from ttplan.model.errors import InputError
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions, sort_by_precedence


@given(strategies.routes())
def test_written_routes_are_read_back(routes: tuple[ProposedRoute, ...]) -> None:
    rendered = to_tokentrimmer(routes)
    lost = {loss.route for loss in rendered.losses}
    read = from_tokentrimmer(
        json.loads(encode_routes_file(rendered.content, ".json")), "routes.json"
    )
    expected = {
        route.name: route.model_dump(exclude={"id"}) for route in routes if route.name not in lost
    }
    assert {
        route.name: route.model_dump(exclude={"id"})
        for route in read.routes
        if route.name not in lost
    } == expected
    # In the file's order, oldest first among equals, the gateway tries them as we do.
    enabled = [body["name"] for body in rendered.content if body["enabled"]]
    left_out = {loss.route for loss in rendered.losses if loss.effect == "is left out"}
    assert enabled == [
        route.name for route in sort_by_precedence(routes) if route.name not in left_out
    ]


def test_a_body_has_what_the_route_contract_names_and_no_more() -> None:
    rendered = to_tokentrimmer([plans.route(3)])
    assert rendered.content == [
        {
            "schema_version": 1,
            "name": "route 3",
            "priority": 3,
            "enabled": True,
            "when": {
                "model_in": ["gpt-4o"],
                "input_tokens_lt": 100,
                "tag_equals": "",
                "estimated_cost_gt": 0.0123456789012345,
            },
            "then": {
                "target_model": "gpt-4o-mini",
                "fallbacks": ["x"],
                "disable_cache": True,
                "max_cost_usd": 0.5,
            },
        }
    ]
    assert rendered.losses == []


@pytest.mark.parametrize(
    ("changes", "field", "effect"),
    [
        ({"priority": 2**31}, "priority", "is left out"),
        ({"when": RouteConditions(input_tokens_lt=2**32)}, "when.input_tokens_lt", "is left out"),
        ({"when": RouteConditions(input_tokens_gt=2**40)}, "when.input_tokens_gt", "is left out"),
        (
            {"when": RouteConditions(estimated_cost_lt=Decimal("0.1000000000000000000001"))},
            "when.estimated_cost_lt",
            "has it rounded",
        ),
        ({"sticky": "session"}, "sticky", "is left out"),
    ],
)
def test_values_beyond_the_gateways_range_are_reported(
    changes: dict[str, Any], field: str, effect: str
) -> None:
    rendered = to_tokentrimmer([plans.route(1, **changes), plans.route(2)])
    assert [(loss.field, loss.effect) for loss in rendered.losses] == [(field, effect)]
    assert len(rendered.content) == (1 if effect == "is left out" else 2)


def test_largest_values_that_it_keeps() -> None:
    when = RouteConditions(input_tokens_lt=2**32 - 1, input_tokens_gt=2**32 - 1)
    assert to_tokentrimmer([plans.route(1, priority=2**31 - 1, when=when)]).losses == []


# --- reading ------------------------------------------------------------------


def read(*routes: dict[str, Any]) -> Any:
    return from_tokentrimmer(list(routes), "routes.json")


def test_the_gateways_response_is_read() -> None:
    response = {
        "id": str(UUID(int=9)),
        "org_id": "x",
        "revision": 3,
        "paused": False,
        "name": "a",
        "priority": 7,
        "enabled": False,
        "when": {"model_in": ["m"], "input_tokens_lt": None, "content_type": None},
        "then": {"target_model": "t", "redact": False, "panel": None},
    }
    parsed = read(response)
    assert parsed.losses == []
    assert parsed.routes == [
        plans.route(
            9,
            name="a",
            priority=7,
            enabled=False,
            when=RouteConditions(model_in=("m",)),
            then=RouteAction(target_model="t"),
        )
    ]


def test_missing_fields_have_the_gateways_defaults() -> None:
    (route,) = read({"name": "a", "then": {"target_model": "t"}}).routes
    assert (route.priority, route.enabled, route.when) == (100, True, RouteConditions())


@pytest.mark.parametrize(
    ("fields", "lost", "effect"),
    [
        (
            {"when": {"content_type": "code"}, "then": {"target_model": "t"}},
            "when.content_type",
            "is left out",
        ),
        ({"then": {"compress": True}}, "then.target_model", "is left out"),
        ({"paused": True, "then": {"target_model": "t"}}, "paused", "is left out"),
        ({"then": {"target_model": "t", "traffic_pct": 5}}, "then.traffic_pct", "goes without it"),
    ],
)
def test_fields_unknown_to_plans_are_reported(
    fields: dict[str, Any], lost: str, effect: str
) -> None:
    parsed = read({"name": "a"} | fields)
    assert [(loss.field, loss.effect) for loss in parsed.losses] == [(lost, effect)]
    assert len(parsed.routes) == (0 if effect == "is left out" else 1)


def test_ties_that_ids_reorder_are_reported() -> None:
    first = {"id": str(UUID(int=2)), "name": "a", "then": {"target_model": "t"}}
    second = {"id": str(UUID(int=1)), "name": "b", "then": {"target_model": "u"}}
    assert [(loss.route, loss.effect) for loss in read(first, second).losses] == [
        ("b", "is tried in another order")
    ]
    assert read(second, first).losses == []
    apart = [
        fields | {"when": {"model_in": [name]}} for fields, name in ((first, "m"), (second, "n"))
    ]
    assert read(*apart).losses == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": 1}, "expected a list of TokenTrimmer routes"),
        ([3], "expected a list of TokenTrimmer routes"),
        (
            [{"name": "a", "when": 3, "then": {"target_model": "t"}}],
            r"route 1 \('a'\): expected when and then to be mappings",
        ),
        (
            [{"name": "a", "priority": -1, "then": {"target_model": "t"}}],
            r"route 1 \('a'\): priority: .*found -1",
        ),
    ],
)
def test_malformed_routes_are_refused(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_tokentrimmer(content, "routes.json")
